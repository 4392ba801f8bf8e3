"""ROC-AUC and average precision of each class against all others (no TF).

Images with equal scores are one step of the curves: ROC-AUC counts such a pair as half, and average precision takes the
precision behind them. Shape symbols: n images, K classes, b resamples, s steps.

Source: Hand and Till, Machine Learning 45 (2001), for one against all; average precision without interpolation, the sum
of precision times the gain in recall.
"""

from __future__ import annotations

import numpy as np


def one_against_all(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes ROC-AUC and average precision by class, ``[K]`` each; NaN where all images or none are of the class.

    Args:
        scores: ``[n, K]``, higher where the class is more probable.
        labels: ``[n]``.
    """
    once = np.ones([1, len(labels)])
    found = np.full([2, scores.shape[1]], np.nan)
    for k in np.unique(labels):
        found[:, k] = np.concatenate(ranking_of_class(scores[:, k], labels == k, once))
    return found[0], found[1]


def resampled_means(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Computes the means over classes of both, ``[2, b]``, given how often each image counts, ``[b, n]``.

    A class counts in the resamples that have images of it and others; a resample with no such class is NaN.
    """
    total, known = np.zeros([2, len(weights)]), np.zeros(len(weights))
    for k in np.unique(labels):
        both = np.stack(ranking_of_class(scores[:, k], labels == k, weights))
        there = ~np.isnan(both[0])
        total += np.where(there, both, 0)
        known += there
    with np.errstate(invalid="ignore"):
        means: np.ndarray = total / known
    return means


def ranking_of_class(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes ROC-AUC and average precision of a class, ``[b]`` each; NaN where all images or none are of the class.

    Args:
        scores: ``[n]``, higher where the class is more probable.
        positive: ``[n]`` bool.
        weights: ``[b, n]``, how often each image counts.
    """
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # the last of each run of equal scores
    sorted_weights = weights[:, order]
    right = np.cumsum(sorted_weights * positive[order], axis=1)[:, ends]  # [b, s]
    wrong = np.cumsum(sorted_weights, axis=1)[:, ends] - right
    gained, lost = (np.diff(values, axis=1, prepend=0) for values in (right, wrong))
    positives, negatives = right[:, -1], wrong[:, -1]
    defined = (positives > 0) & (negatives > 0)
    area = (lost * (right - gained / 2)).sum(axis=1)
    precision = (gained * right / np.maximum(right + wrong, 1)).sum(axis=1)
    return (
        np.where(defined, area / np.maximum(positives * negatives, 1), np.nan),
        np.where(defined, precision / np.maximum(positives, 1), np.nan),
    )
