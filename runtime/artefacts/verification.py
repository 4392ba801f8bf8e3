"""Compares an artefact with the checkpoint that it was exported from; both run on the same images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.artefacts.artefact import Artefact, run_by
from runtime.artefacts.formats import Limits
from runtime.evaluation import restoring
from runtime.graphs import build_eval_graph
from runtime.task import Setup, Task
from utils.errors import RunError, reason
from utils.hvd_utils import SerialCommunicator
from utils.input.batching import STATUS_OK, Position, Shard
from utils.metric_names import heading

tf1 = tf.compat.v1


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The results of a checkpoint and an artefact on the same images.

    Attributes:
        images: Number of images.
        synthetic: Whether the images were noise; then there is no metric.
        drift: Root mean square of the differences in the network's ends (logits, or box codes and class logits) over
            the root mean square of the checkpoint's values; the largest ratio if there are several ends.
        largest_difference: The largest absolute difference of each end.
        metric: Log key of the metric.
        of_checkpoint: Metric of the checkpoint on these images, or None.
        of_artefact: Metric of the artefact, or None.
    """

    images: int
    synthetic: bool
    drift: float
    largest_difference: Mapping[str, float]
    metric: str
    of_checkpoint: float | None
    of_artefact: float | None

    def failure(self, limits: Limits) -> str | None:
        """The reason why the artefact exceeds the limits, or None if it does not."""
        if not self.drift <= limits.max_drift:  # also true for NaN
            return f"a drift of {self.drift:.3g}, more than {limits.max_drift:g} (--max_drift)"
        if self.of_checkpoint is None or self.of_artefact is None:
            return None
        drop = self.of_checkpoint - self.of_artefact
        allowed = max(limits.max_metric_drop, 1.0 / self.images)  # one image may always differ
        if drop <= allowed + 1e-9:
            return None
        return (
            f"{heading(self.metric)} fell from {self.of_checkpoint:.4f} to {self.of_artefact:.4f}, by more than "
            f"{allowed:g} (--max_metric_drop)"
        )


class _Difference:
    """Accumulates the differences of one end."""

    def __init__(self) -> None:
        self.largest = 0.0
        self._squares = self._of_reference = 0.0

    def add(self, reference: np.ndarray, found: np.ndarray) -> None:
        reference = np.asarray(reference, np.float64)
        difference = np.asarray(found, np.float64) - reference
        if difference.size:
            largest = float(np.abs(difference).max())
            self.largest = max(self.largest, largest) if math.isfinite(largest) else math.inf
            self._squares += float(np.square(difference).sum())
            self._of_reference += float(np.square(reference).sum())

    @property
    def share(self) -> float:
        if self._of_reference:
            return math.sqrt(self._squares / self._of_reference)
        return math.inf if self._squares else 0.0


def compare(setup: Setup, prefix: Path, artefact: Artefact, images: int) -> Comparison:
    """Runs a checkpoint and its artefact on the first validation images, or on noise if there is no data.

    Raises:
        RunError: The artefact cannot be run.
    """
    task, ends = setup.task, setup.task.post_processing.ends
    ours = run_by(task, artefact)
    graph = tf.Graph()
    with graph.as_default():
        data = task.data.input("validation", Shard(), Position())
    reference = build_eval_graph(task, data, SerialCommunicator())
    with graph.as_default():
        found = ours.network.forward(data.batch.images, training=False)
        fetches = {
            "rows": {"status": data.batch.status, "index": data.batch.index},
            "reference_ends": {name: reference.network.endpoints[name] for name in ends},
            "found_ends": {name: found[name] for name in ends},
            "reference": reference.outputs,
            "found": ours.post_processing.outputs(found, data.batch.targets),
        }
    with tf1.Session(graph=graph, config=setup.session_config) as session:
        reference.network.load(session, setup.session_config, restoring(setup, prefix))
        session.run(data.initializer)
        scored = bool(setup.splits.get("validation"))
        try:
            return _compared(session, fetches, task, images, scored=scored)
        except tf.errors.OpError as error:
            raise RunError(f"{artefact.path}: cannot be run: {reason(error)}") from error


def _compared(session: Any, fetches: Mapping[str, Any], task: Task, images: int, *, scored: bool) -> Comparison:
    differences = {name: _Difference() for name in task.post_processing.ends}
    evaluators = {"reference": task.metrics.evaluator(), "found": task.metrics.evaluator()}
    seen = 0
    while seen < images:
        try:
            values = session.run(fetches)
        except tf.errors.OutOfRangeError:
            break
        rows = np.flatnonzero(values["rows"]["status"] == STATUS_OK)[: images - seen]
        seen += len(rows)
        for name, difference in differences.items():
            difference.add(values["reference_ends"][name][rows], values["found_ends"][name][rows])
        for name, evaluator in evaluators.items() if scored else ():
            evaluator.update({key: array[rows] for key, array in {**values["rows"], **values[name]}.items()})
    if not seen:
        raise RunError("--data_dir: no validation image could be read for the comparison")
    best = task.metrics.best
    metrics = {name: float(evaluator.result()[best]) for name, evaluator in evaluators.items()} if scored else {}
    return Comparison(
        images=seen,
        synthetic=not scored,
        drift=max(difference.share for difference in differences.values()),
        largest_difference={name: difference.largest for name, difference in differences.items()},
        metric=best,
        of_checkpoint=metrics.get("reference"),
        of_artefact=metrics.get("found"),
    )
