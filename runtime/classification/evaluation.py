"""Accuracy and loss of a classifier over a split, accumulated example by example (no TF)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.classification.details import Answers
from utils.errors import RunError
from utils.statistics.class_metrics import bootstrap_intervals, by_class, metrics_of, ranking_intervals, ranking_metrics
from utils.statistics.intervals import Interval, wilson

CROSS_ENTROPY_UNITS = 2.0**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Limits on what an evaluation computes beside its metrics.

    Attributes:
        scores: Number of images times classes up to which ROC-AUC and average precision are computed.
        resampled_scores: Number of images times classes up to which these have intervals.
        resampled_images: Number of images up to which there are bootstrap intervals.
    """

    scores: int
    resampled_scores: int
    resampled_images: int


THOROUGH = Effort(scores=2**26, resampled_scores=100_000, resampled_images=10_000_000)
"""At most a few seconds, and 256 MB of scores."""
QUICK = Effort(scores=2**20, resampled_scores=10_000, resampled_images=100_000)
"""At most two seconds for 100,000 images, for evaluations during training."""


class ClassificationEvaluator:
    """Top-1, top-5 and top-k accuracy and mean cross-entropy of a split, each example counted once.

    Args:
        top_k: k.
        effort: Limits on further metrics and intervals.
    """

    def __init__(self, top_k: int, effort: Effort = THOROUGH) -> None:
        self._effort = effort
        self._ks = sorted({1, 5, top_k})
        self._hits = dict.fromkeys(self._ks, 0)
        self._images = 0
        self._cross_entropy = 0  # in units of 2^-40: the sum depends neither on order nor on batches
        self._answers = Answers(effort.scores)
        self._ranking: tuple[dict[str, float], np.ndarray] | None = None

    def update(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds a batch.

        Args:
            arrays: "logits" [N, K], "labels" [N] and, for pictures of mistakes, "index" [N].

        Raises:
            RunError: A logit is not finite, so a ranking is meaningless.
        """
        logits = np.asarray(arrays["logits"], np.float64)
        labels = np.asarray(arrays["labels"])
        if not np.isfinite(logits).all():
            raise RunError("the network's logits are not finite: the weights are damaged or the precision too low")
        rows = np.arange(len(labels))
        truth = logits[rows, labels][:, None]
        before = np.arange(logits.shape[1])[None, :] < labels[:, None]
        rank = (logits > truth).sum(axis=1) + ((logits == truth) & before).sum(axis=1)
        for k in self._ks:
            self._hits[k] += int((rank < k).sum())
        peak = logits.max(axis=1)
        log_sum = np.log(np.exp(logits - peak[:, None]).sum(axis=1)) + peak
        self._cross_entropy += sum(map(int, np.rint((log_sum - truth[:, 0]) * CROSS_ENTROPY_UNITS)))
        self._images += len(labels)
        self._ranking = None
        self._answers.add(arrays, logits, log_sum)

    def merge(self, other: ClassificationEvaluator) -> None:
        for k in self._ks:
            self._hits[k] += other._hits[k]
        self._cross_entropy += other._cross_entropy
        self._images += other._images
        self._ranking = None
        self._answers.merge(other._answers)

    def report(self) -> str:
        return ""

    def artefacts(self) -> dict[str, bytes]:
        return {}

    def details(self, *, final: bool = True) -> dict[str, Any]:
        del final  # nothing here takes long
        return {**self._answers.details(), "class_metrics": self._class_metrics()}

    def statistics(self) -> dict[str, Any]:
        """Macro averages, calibration error, ROC-AUC and average precision; and "intervals" of these and of accuracies.

        Raises:
            RunError: No example was evaluated.
        """
        self._require_images()
        table, _, scores = self._answers.sorted()
        found = metrics_of(table)
        intervals: dict[str, Interval] = {
            f"top{k}_accuracy": wilson(hits, self._images) for k, hits in self._hits.items()
        }
        if self._images <= self._effort.resampled_images:
            intervals |= bootstrap_intervals(table)
        if scores is not None:
            found |= self._ranked(scores, table.labels)[0]
            if scores.size <= self._effort.resampled_scores:
                intervals |= ranking_intervals(scores, table.labels)
        return {**found, "intervals": intervals}

    def _class_metrics(self) -> list[list[float | None]]:
        """Precision, recall, F1, ROC-AUC and average precision by class; null where undefined or not computed."""
        table, _, scores = self._answers.sorted()
        each = np.full([5, table.num_classes], np.nan)
        each[:3] = np.concatenate(by_class(table, np.ones([1, len(table.labels)])))
        if scores is not None:
            each[3:] = self._ranked(scores, table.labels)[1]
        return [[None if np.isnan(value) else round(float(value), 6) for value in row] for row in each.T]

    def _ranked(self, scores: np.ndarray, labels: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
        """``ranking_metrics``, computed once."""
        if self._ranking is None:
            self._ranking = ranking_metrics(scores, labels)
        return self._ranking

    def _require_images(self) -> None:
        if not self._images:
            raise RunError("no image could be evaluated")

    def result(self) -> dict[str, float]:
        """Accuracies as fractions, the loss, and the number of images; every image counts if k exceeds the class count.

        Raises:
            RunError: No example was evaluated.
        """
        self._require_images()
        accuracies = {f"top{k}_accuracy": self._hits[k] / self._images for k in self._ks}
        loss = self._cross_entropy / CROSS_ENTROPY_UNITS / self._images
        return {**accuracies, "loss": loss, "images": self._images}
