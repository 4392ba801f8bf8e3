"""Metrics of images with several labels each, with bootstrap intervals (no TF).

Shape symbols: n images, K classes, b resamples.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from utils.statistics.intervals import Interval, percentile_interval, resamples
from utils.statistics.one_against_all import ranking_of_class

MEAN_AVERAGE_PRECISION, MEAN_ROC_AUC = "macro_average_precision", "macro_roc_auc"
MACRO = ("macro_precision", "macro_recall", "macro_f1")
MICRO = ("micro_precision", "micro_recall", "micro_f1")


def by_class(truth: np.ndarray, answers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Counts labels, answers and right answers of each class: ``[3, b, K]``.

    Args:
        truth: ``[n, K]`` bool, the labels.
        answers: ``[n, K]`` bool, the classes that the network names.
        weights: ``[b, n]``, how often each image counts.
    """
    return np.stack([weights @ part.astype(np.float64) for part in (truth, answers, truth & answers)])


def scores_of(counts: np.ndarray) -> np.ndarray:
    """Computes precision, recall and F1, ``[3, ...]``, from ``by_class``'s counts, ``[3, ...]``; 0 where undefined."""
    labels, answers, hits = counts
    return np.stack(
        [hits / np.maximum(answers, 1), hits / np.maximum(labels, 1), 2 * hits / np.maximum(labels + answers, 1)]
    )


def class_averages(truth: np.ndarray, answers: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Computes precision, recall and F1, ``[b]`` each: macro over classes with labels, and micro."""
    counts = by_class(truth, answers, weights)
    present = counts[0] > 0
    macro = np.where(present, scores_of(counts), 0).sum(axis=2) / np.maximum(present.sum(axis=1), 1)
    micro = scores_of(counts.sum(axis=2))
    return dict(zip((*MACRO, *MICRO), (*macro, *micro), strict=True))


def rankings(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> Iterator[np.ndarray]:
    """Computes ROC-AUC and average precision, ``[2, b]``, of one class after another.

    NaN where no image has the class. If all have it, only ROC-AUC is undefined, and average precision is 1.
    """
    for k in range(scores.shape[1]):
        area, precision = ranking_of_class(scores[:, k], truth[:, k], weights)
        everywhere = (weights @ ~truth[:, k] == 0) & (weights @ truth[:, k] > 0)
        yield np.stack([area, np.where(everywhere, 1.0, precision)])


def mean_rankings(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Computes the means of ROC-AUC and average precision over the classes where they are defined, ``[2, b]``."""
    total, known = np.zeros([2, len(weights)]), np.zeros([2, len(weights)])
    for both in rankings(scores, truth, weights):
        there = ~np.isnan(both)
        total += np.where(there, both, 0)
        known += there
    with np.errstate(invalid="ignore"):
        means: np.ndarray = total / known
    return means


def ranking_intervals(scores: np.ndarray, truth: np.ndarray) -> dict[str, Interval]:
    """Computes the bootstrap intervals of ``mean_rankings``."""
    values = np.concatenate([mean_rankings(scores, truth, weights) for weights in resamples(len(truth))], axis=1)
    return _known(dict(zip((MEAN_ROC_AUC, MEAN_AVERAGE_PRECISION), values, strict=True)))


def average_intervals(truth: np.ndarray, answers: np.ndarray, losses: np.ndarray) -> dict[str, Interval]:
    """Computes the bootstrap intervals of ``class_averages`` and of the mean of ``losses``, ``[n]``."""
    parts = [
        {**class_averages(truth, answers, weights), "loss": weights @ losses / len(losses)}
        for weights in resamples(len(truth))
    ]
    return _known({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _known(values: dict[str, np.ndarray]) -> dict[str, Interval]:
    found = {name: percentile_interval(each) for name, each in values.items()}
    return {name: interval for name, interval in found.items() if interval is not None}
