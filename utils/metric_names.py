"""Headings for the log keys of metrics: one spelling on the console and in reports (no TF)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RATES = ("imgs_per_sec", "total_ips")
WAITING = "input_wait_share"
LOSS = "total_loss"
CROSS_ENTROPY = "cross_entropy"
BINARY_CROSS_ENTROPY = "binary_cross_entropy"
FOCAL_LOSS = "focal_loss"
WEIGHTED = "weighted_"
"""Begins the key of a loss with a weight below 1 beside another one."""
DISTILLATION = "distillation_loss"
INITIAL_CROSS_ENTROPY, LN_CLASSES = "initial_cross_entropy", "ln_num_classes"
BEGINNING = (INITIAL_CROSS_ENTROPY, LN_CLASSES)
"""Keys of the first record of training: the cross-entropy of the initial weights, and that of equal probabilities."""
LATENCY, THROUGHPUT = "latency_", "throughput"
_MEAN = f"{LATENCY}avg"

INTERVALS = "intervals"
"""Key of the 95 % intervals of a record's metrics: lower and upper ends by log key."""

_KINDS = {"train": "in training", "eval": "in evaluation", "network": "of the network alone"}
_SIZES = ("small", "medium", "large")
_HEADINGS = {
    LOSS: "loss",
    "l2_loss": "L2 loss",
    INITIAL_CROSS_ENTROPY: "cross entropy at step 0:",
    LN_CLASSES: "ln K:",
    "learning_rate": "LR",
    "classification_loss": "classes",
    DISTILLATION: "distillation",
    "localization_loss": "boxes",
    "distribution_loss": "distributions",
    "centerness_loss": "centerness",
    WAITING: "waiting",
    THROUGHPUT: "images/s",
    _MEAN: "ms a batch",
    **dict.fromkeys(RATES, "images/s"),
    "macro_roc_auc": "macro ROC-AUC",
    "macro_average_precision": "macro AP",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "Precision/mAP": "AP",
    "Precision/mAP@.50IOU": "AP50",
    "Precision/mAP@.75IOU": "AP75",
    **{f"Precision/mAP ({size})": f"AP {size}" for size in _SIZES},
    **{f"Recall/AR@{most}": f"AR{most}" for most in (1, 10, 100)},
    **{f"Recall/AR@100 ({size})": f"AR {size}" for size in _SIZES},
}


def heading(key: str) -> str:
    """The heading for a log key."""
    if key.startswith("top") and key.endswith("_accuracy"):
        return f"top-{key.removeprefix('top').removesuffix('_accuracy')}"
    kind, _, figure = key.partition("_")
    if kind in _KINDS and figure.startswith((LATENCY, THROUGHPUT)):
        unit = _HEADINGS[THROUGHPUT if figure == THROUGHPUT else _MEAN]
        percentile = "" if figure in (THROUGHPUT, _MEAN) else f"{heading(figure)} "
        return f"{percentile}{unit} {_KINDS[kind]}"
    return _HEADINGS.get(key) or key.removeprefix(LATENCY).replace("_", " ")


def interval_of(record: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """The interval of a metric in a record of the log, or None."""
    intervals = record.get(INTERVALS)
    ends = intervals.get(key) if isinstance(intervals, Mapping) else None
    if not isinstance(ends, list) or len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
        return None
    return float(ends[0]), float(ends[1])
