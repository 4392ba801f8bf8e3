"""Log records, and TensorBoard's scalars, histograms and graph, while the loop runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from utils.dllogger_utils import Logger
from utils.hooks.hook import Hook, StepRecord
from utils.hooks.measurement import RateHook
from utils.reporting.event_file import EventFile


class TrainingLogHook(Hook):
    """Logs the scalars and the speed each n-th step, and the scalars at the end of each epoch.

    Args:
        logger: The log.
        every: n.
        steps_per_epoch: Steps of an epoch.
        global_batch: Images of a step.
        more: Returns further values for the next record.
    """

    def __init__(
        self,
        logger: Logger,
        *,
        every: int,
        steps_per_epoch: int,
        global_batch: int,
        more: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._logger = logger
        self._more = more
        self._every = every
        self._steps_per_epoch = steps_per_epoch
        self._rate = RateHook(global_batch)
        self._logged_step = 0

    def begin(self, step: int, last: int | None) -> None:
        self._logged_step = step

    def after_step(self, record: StepRecord) -> None:
        self._rate.after_step(record)
        if record.step == self._logged_step:  # a step skipped by dynamic loss scaling
            return
        self._logged_step = record.step
        epoch = (record.step - 1) // self._steps_per_epoch
        scalars = scalars_of(record)
        if record.step % self._every == 0:
            self._logger.log((epoch, record.step), {**self._rate.take("imgs_per_sec"), **scalars, **self._more()})
        if record.step % self._steps_per_epoch == 0:
            self._logger.log((epoch,), {**scalars, **self._more()})


class BenchmarkLogHook(Hook):
    """Logs the speed each n-th batch after the warm-up."""

    def __init__(self, logger: Logger, *, every: int, batch_size: int, warmup_batches: int) -> None:
        self._logger = logger
        self._every = every
        self._warmup = warmup_batches
        self._rate = RateHook(batch_size)
        self._batches = 0

    def after_step(self, record: StepRecord) -> None:
        self._rate.after_step(record)
        self._batches += 1
        if self._batches == self._warmup:
            self._rate.take("total_ips")
        elif self._batches > self._warmup and self._batches % self._every == 0:
            self._logger.log((0, self._batches), self._rate.take("total_ips"))


HISTOGRAMS = "histograms"
"""Name of the fetched value that holds a serialized summary; empty after most steps."""


class SummaryHook(Hook):
    """Writes to the folder's event file, for TensorBoard.

    Scalars each n-th step and at the end of the loop, histograms as they come, and the graph when it is given.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self._events = EventFile(folder)
        self._every = every
        self._unwritten: StepRecord | None = None

    def show_graph(self, graph: Any) -> None:
        """Writes a ``tf.Graph``, without its large constants."""
        self._events.add_graph(graph)

    def after_step(self, record: StepRecord) -> None:
        self._unwritten = record
        if record.values.get(HISTOGRAMS):
            self._events.add_summary(record.step, record.values[HISTOGRAMS])
        if record.step % self._every == 0:
            self._write()

    def end(self) -> None:
        self._write()
        self._events.flush()

    def _write(self) -> None:
        if self._unwritten is not None:
            self._events.add_scalars(self._unwritten.step, scalars_of(self._unwritten))
            self._unwritten = None

    def close(self) -> None:
        self._events.close()


def scalars_of(record: StepRecord) -> dict[str, float]:
    """The record's scalar values as Python floats."""
    return {name: float(value) for name, value in record.values.items() if getattr(value, "ndim", None) == 0}
