"""Throughput, latency and the fraction of time spent waiting for input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from utils.hooks.hook import Hook, StepRecord


class MeasurementHook(Hook):
    """Measures all batches after a warm-up.

    Throughput is images divided by elapsed time, never a mean of rates; a latency is that of a single batch.

    Args:
        batch_size: Images per batch.
        warmup_batches: Number of batches at the start that do not count.
        percentiles: Percentiles of the latency to report.
        without_input: Leave out the time spent waiting for input and the time between batches.
    """

    def __init__(
        self,
        batch_size: int,
        warmup_batches: int,
        percentiles: Sequence[int] = (50, 90, 95, 99),
        *,
        without_input: bool = False,
    ) -> None:
        self._batch_size = batch_size
        self._warmup = warmup_batches
        self._percentiles = percentiles
        self._without_input = without_input
        self._seen = 0
        self._elapsed: list[float] = []
        self._latencies: list[float] = []
        self._waits: list[float] = []

    def after_step(self, record: StepRecord) -> None:
        self._seen += 1
        if self._seen <= self._warmup:
            return
        computing = record.run_seconds - record.wait_seconds
        self._elapsed.append(computing if self._without_input else record.seconds)
        self._latencies.append(computing if self._without_input else record.run_seconds)
        self._waits.append(record.wait_seconds)

    @property
    def latencies_ms(self) -> list[float]:
        """The latency of each measured batch."""
        return [1000.0 * latency for latency in self._latencies]

    def result(self, kind: str) -> dict[str, float]:
        """The figures under their log keys.

        Args:
            kind: The first word of the keys, such as "train" or "eval".

        Returns:
            ``<kind>_throughput`` in images/s, ``<kind>_latency_{avg,p50,...}`` in ms and, with the input,
            ``input_wait_share`` in [0, 1]; empty if no batch came after the warm-up.
        """
        if not self._elapsed:
            return {}
        elapsed = sum(self._elapsed)
        latencies_ms = 1000.0 * np.asarray(self._latencies)
        figures = {f"{kind}_throughput": self._batch_size * len(self._elapsed) / elapsed}
        figures[f"{kind}_latency_avg"] = float(latencies_ms.mean())
        for percentile in self._percentiles:
            figures[f"{kind}_latency_p{percentile}"] = float(np.percentile(latencies_ms, percentile))
        if not self._without_input:
            figures["input_wait_share"] = sum(self._waits) / elapsed
        return figures


class RateHook(Hook):
    """Measures images per second and the fraction of time spent waiting for input since the last ``take``."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._batches = 0
        self._seconds = 0.0
        self._waits = 0.0

    def after_step(self, record: StepRecord) -> None:
        self._batches += 1
        self._seconds += record.seconds
        self._waits += record.wait_seconds

    def take(self, name: str) -> dict[str, float]:
        """Returns images per second under ``name`` and ``input_wait_share`` in [0, 1], and restarts the measurement."""
        rate = self._batch_size * self._batches / self._seconds
        figures = {name: float(rate), "input_wait_share": float(self._waits / self._seconds)}
        self._batches, self._seconds, self._waits = 0, 0.0, 0.0
        return figures
