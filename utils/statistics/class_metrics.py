"""Metrics of a classifier from its answers, and their bootstrap intervals (no TF).

A class counts towards a macro average if it has examples: among all images for the metric, in the resample for its
interval. Shape symbols: n images, K classes, b resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.statistics.intervals import Interval, group_sums, percentile_interval, resamples
from utils.statistics.one_against_all import one_against_all, resampled_means

CALIBRATION_BINS = 10
MACRO = ("macro_accuracy", "macro_precision", "macro_f1")
CALIBRATION_ERROR = "calibration_error"
LOSS = "loss"
ONE_AGAINST_ALL = ("macro_roc_auc", "macro_average_precision")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTable:
    """The answers to some images.

    Attributes:
        labels: ``[n]`` true classes.
        answers: ``[n]`` predicted classes.
        confidences: ``[n]`` probabilities of the predicted classes.
        losses: ``[n]`` cross-entropies.
        num_classes: K.
    """

    labels: np.ndarray
    answers: np.ndarray
    confidences: np.ndarray
    losses: np.ndarray
    num_classes: int

    @property
    def right(self) -> np.ndarray:
        """``[n]`` bool."""
        right: np.ndarray = self.labels == self.answers
        return right


def by_class(table: AnswerTable, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes precision, recall and F1 of each class, ``[b, K]`` each.

    Recall is NaN for a class without examples; precision and F1 are 0 for one that is never predicted.

    Args:
        table: The answers.
        weights: ``[b, n]``, how often each image counts.
    """
    count, right = table.num_classes, table.right
    examples = group_sums(weights, table.labels, count)
    predicted = group_sums(weights, table.answers, count)
    hits = group_sums(weights[:, right], table.labels[right], count)
    with np.errstate(invalid="ignore"):
        recall = hits / examples
    precision = hits / np.maximum(predicted, 1)
    f1 = 2 * hits / np.maximum(examples + predicted, 1)
    return precision, recall, f1


def class_metrics(table: AnswerTable, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Computes macro averages, of recall as "macro_accuracy", precision and F1; and the calibration error, ``[b]``."""
    precision, recall, f1 = by_class(table, weights)
    present = ~np.isnan(recall)
    classes = np.maximum(present.sum(axis=1), 1)
    macro = [np.where(present, values, 0).sum(axis=1) / classes for values in (recall, precision, f1)]
    return {**dict(zip(MACRO, macro, strict=True)), CALIBRATION_ERROR: calibration_error(table, weights)}


def calibration_error(table: AnswerTable, weights: np.ndarray) -> np.ndarray:
    """Computes the expected calibration error, ``[b]``, over tenths of the confidence.

    It is the mean over images of |mean confidence - accuracy| of their tenth.

    Source: Guo et al., On calibration of modern neural networks, arXiv:1706.04599.
    """
    tenths = confidence_bins(table.confidences)
    gaps: np.ndarray = group_sums(weights * (table.confidences - table.right), tenths, CALIBRATION_BINS)
    error: np.ndarray = np.abs(gaps).sum(axis=1) / weights.sum(axis=1)
    return error


def confidence_bins(confidences: np.ndarray) -> np.ndarray:
    """Returns the tenth of [0, 1] that each confidence is in; 1 belongs to the last."""
    tenths: np.ndarray = np.clip((confidences * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)
    return tenths


def metrics_of(table: AnswerTable) -> dict[str, float]:
    """Computes ``class_metrics`` of all images, once each."""
    found = class_metrics(table, np.ones([1, len(table.labels)]))
    return {name: float(values[0]) for name, values in found.items()}


def bootstrap_intervals(table: AnswerTable) -> dict[str, Interval]:
    """Computes the bootstrap intervals of ``class_metrics`` and of the mean loss.

    The calibration error of resamples is larger on average than that of the images, because images that come twice make
    the tenths uneven. Its interval is shifted by that difference.
    """
    parts = [
        {**class_metrics(table, weights), LOSS: weights @ table.losses / len(table.losses)}
        for weights in resamples(len(table.labels))
    ]
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    errors, error = values[CALIBRATION_ERROR], metrics_of(table)[CALIBRATION_ERROR]
    values[CALIBRATION_ERROR] = np.maximum(errors - errors.mean() + error, 0)
    found = {name: percentile_interval(each) for name, each in values.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def ranking_metrics(scores: np.ndarray, labels: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Computes the means of ROC-AUC and average precision one against all, and both by class.

    Args:
        scores: ``[n, K]``, higher where the class is more probable.
        labels: ``[n]``.

    Returns:
        The means over the classes that have both examples and others, empty without such a class; and ``[2, K]``, NaN
        for the other classes.
    """
    each = np.stack(one_against_all(scores, labels))
    known = ~np.isnan(each[0])
    if not known.any():
        return {}, each
    return dict(zip(ONE_AGAINST_ALL, each[:, known].mean(axis=1).tolist(), strict=True)), each


def ranking_intervals(scores: np.ndarray, labels: np.ndarray) -> dict[str, Interval]:
    """Computes the bootstrap intervals of ``ranking_metrics``."""
    parts = [resampled_means(scores, labels, weights) for weights in resamples(len(labels))]
    values = np.concatenate(parts, axis=1)
    found = {name: percentile_interval(row) for name, row in zip(ONE_AGAINST_ALL, values, strict=True)}
    return {name: interval for name, interval in found.items() if interval is not None}
