"""Metrics of a classifier of images with several labels each over a split (no TF).

Shape symbols: n images, N batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtime.classification.details import NO_INDEX, PICTURES
from runtime.classification.evaluation import THOROUGH, Effort
from utils.errors import RunError
from utils.files.packed_arrays import packed
from utils.reporting.evaluation_file import SEVERAL_LABELS, examples_of
from utils.reporting.per_image import PER_IMAGE
from utils.statistics.intervals import Interval
from utils.statistics.several_labels import (
    MEAN_AVERAGE_PRECISION,
    MEAN_ROC_AUC,
    average_intervals,
    by_class,
    class_averages,
    mean_rankings,
    ranking_intervals,
    rankings,
    scores_of,
)

MOST_SCORES = 2**22
"""Scores in the evaluation file, for tests against other runs: up to 20 MB."""
_CHEAPER = 100
"""A resample of F1 takes a hundredth of the time of one of average precision."""
_OF_BEST = 4
"""Mean average precision chooses the best checkpoint, so its interval may take four times as long as others."""
_SHOWN, _DECIMALS = 6, 6


class SeveralLabelsEvaluator:
    """Mean average precision, F1 and the mean loss of a split, each example counted once.

    It keeps the logits and labels of all examples, 5 bytes a class and image. A class counts as named from a
    probability of one half on.

    Args:
        effort: Limits on intervals.
    """

    def __init__(self, effort: Effort = THOROUGH) -> None:
        self._effort = effort
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._whole: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def update(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds a batch.

        Args:
            arrays: "logits" [N, K], "labels" [N, K] of 0 and 1 and, for pictures, "index" [N].

        Raises:
            RunError: A logit is not finite, so a ranking is meaningless.
        """
        logits = np.asarray(arrays["logits"], np.float32)
        if not np.isfinite(logits).all():
            raise RunError("the network's logits are not finite: the weights are damaged or the precision too low")
        index = np.asarray(arrays.get("index", np.full(len(logits), NO_INDEX)))
        self._parts.append((index, logits, np.asarray(arrays["labels"]) > 0.5))
        self._whole = None

    def merge(self, other: SeveralLabelsEvaluator) -> None:
        self._parts += other._parts
        self._whole = None

    def report(self) -> str:
        return ""

    def artefacts(self) -> dict[str, bytes]:
        return {}

    def _sorted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices [n], logits and labels [n, K], by ascending index, whatever the batches and processes were.

        Raises:
            RunError: No example was evaluated.
        """
        if not sum(len(index) for index, _, _ in self._parts):
            raise RunError("no image could be evaluated")
        if self._whole is None:
            index, logits, truth = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
            order = np.argsort(index, kind="stable")
            self._whole = index[order], logits[order], truth[order]
            self._parts = [self._whole]
        return self._whole

    def result(self) -> dict[str, float]:
        """Mean average precision, F1, the loss and the number of images.

        Mean average precision is 0 if no image has a label.

        Raises:
            RunError: No example was evaluated.
        """
        _, logits, truth = self._sorted()
        once = np.ones([1, len(truth)])
        averages = class_averages(truth, logits >= 0, once)
        precision = float(np.nan_to_num(mean_rankings(logits, truth, once)[1, 0]))
        f1 = {name: float(averages[name][0]) for name in ("macro_f1", "micro_f1")}
        loss = float(_losses(logits, truth).mean())
        return {MEAN_AVERAGE_PRECISION: precision, **f1, "loss": loss, "images": len(truth)}

    def statistics(self) -> dict[str, Any]:
        """Precision, recall and ROC-AUC; and "intervals" of these and of the metrics.

        Raises:
            RunError: No example was evaluated.
        """
        _, logits, truth = self._sorted()
        once = np.ones([1, len(truth)])
        found = {name: float(values[0]) for name, values in class_averages(truth, logits >= 0, once).items()}
        area = float(mean_rankings(logits, truth, once)[0, 0])
        if np.isfinite(area):
            found[MEAN_ROC_AUC] = area
        intervals: dict[str, Interval] = {}
        if logits.size <= _CHEAPER * self._effort.resampled_scores:
            intervals |= average_intervals(truth, logits >= 0, _losses(logits, truth))
        if logits.size <= _OF_BEST * self._effort.resampled_scores:
            intervals |= ranking_intervals(logits, truth)
        return {**found, "intervals": intervals}

    def details(self, *, final: bool = True) -> dict[str, Any]:
        """Counts and metrics by class, the scores of each image, and the most confident mistakes.

        "classes" lists for each class the numbers of images with it, of images for which it is named, and of both.
        "class_metrics" lists precision, recall, F1, ROC-AUC and average precision, null where undefined. "per_image"
        is null if there are too many scores.
        """
        del final  # nothing here takes long
        index, logits, truth = self._sorted()
        once = np.ones([1, len(truth)])
        counts = by_class(truth, logits >= 0, once)[:, 0]
        ranked = np.concatenate([*rankings(logits, truth, once)], axis=1)  # [2, K]
        each = np.concatenate([scores_of(counts), ranked])
        each[1, counts[0] == 0] = np.nan
        mistakes = np.where(truth, -logits, logits).max(axis=1)
        worst = np.argsort(-mistakes, kind="stable")[:PICTURES]
        scores = {"index": index, "scores": logits.ravel(), "truth": truth.ravel().astype(np.int8)}
        return {
            "task": SEVERAL_LABELS,
            "classes": counts.T.astype(int).tolist(),
            "class_metrics": [[None if np.isnan(v) else round(float(v), _DECIMALS) for v in row] for row in each.T],
            PER_IMAGE: packed(scores) if logits.size <= MOST_SCORES else None,
            "pictures": [_entry(index[n], logits[n], truth[n]) for n in worst if mistakes[n] >= 0],
            "examples": [_entry(index[n], logits[n], truth[n]) for n in examples_of(len(index))],
        }


def _losses(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The mean over the classes of each one's binary cross-entropy, [n]."""
    wide = logits.astype(np.float64)
    losses: np.ndarray = (np.maximum(wide, 0) - wide * truth + np.log1p(np.exp(-np.abs(wide)))).mean(axis=1)
    return losses


def _entry(index: int, logits: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """An example with triples of class, probability and whether the image has it: its labels and what is named."""
    listed = np.flatnonzero(truth | (logits >= 0))
    wrong = np.where(truth, -logits, logits)[listed]
    chosen = listed[np.argsort(-wrong, kind="stable")[:_SHOWN]]
    probabilities = 1 / (1 + np.exp(-logits[chosen].astype(np.float64)))
    found = zip(chosen.tolist(), probabilities.tolist(), truth[chosen].astype(int).tolist(), strict=True)
    return {"index": int(index), "classes": [[k, round(p, _DECIMALS), there] for k, p, there in found]}
