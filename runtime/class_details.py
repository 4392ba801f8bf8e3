"""Details of a classifier's evaluation beyond its metrics, as JSON values (no TF)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from utils.reporting.evaluation_file import examples_of

PICTURES = 24
NO_INDEX = -1
_BINS = 10
_DECIMALS = 6
_ANSWER = np.dtype([("index", "i8"), ("label", "i4"), ("answer", "i4"), ("confidence", "f8"), ("of_label", "f8")])


class Answers:
    """The network's predictions for the examples, 32 bytes each; several processes can merge theirs."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._num_classes = 0

    def add(self, arrays: Mapping[str, np.ndarray], logits: np.ndarray, log_sum: np.ndarray) -> None:
        """Adds a batch.

        Args:
            arrays: "labels" [N] and, if the examples belong to a split, "index" [N], their indices in it.
            logits: [N, K].
            log_sum: [N], log-sum-exp of the logits.
        """
        count = len(logits)
        answers = np.empty(count, _ANSWER)
        rows, labels = np.arange(count), np.asarray(arrays["labels"])
        chosen = logits.argmax(axis=1)
        answers["index"] = arrays.get("index", np.full(count, NO_INDEX))
        answers["label"], answers["answer"] = labels, chosen
        answers["confidence"] = np.exp(logits[rows, chosen] - log_sum)
        answers["of_label"] = np.exp(logits[rows, labels] - log_sum)
        self._parts.append(answers)
        self._num_classes = logits.shape[1]

    def merge(self, other: Answers) -> None:
        self._parts += other._parts
        self._num_classes = max(self._num_classes, other._num_classes)

    def details(self) -> dict[str, Any]:
        """Counts per class, the confusion matrix, calibration, and the most confident mistakes.

        "classes" lists for each class the numbers of examples, predictions, and correct predictions. "confusion" lists
        triples of class, predicted class and count, without zeros. "calibration" lists for each tenth of the confidence
        range the number of examples, their mean confidence and their accuracy, null if there are none. "examples" are a
        selection of all examples, "pictures" the most confident mistakes.
        """
        table = np.concatenate(self._parts) if self._parts else np.empty(0, _ANSWER)
        table = table[np.lexsort((table["label"], table["index"]))]
        right = table["label"] == table["answer"]
        counts = [
            np.bincount(values, minlength=self._num_classes)
            for values in (table["label"], table["answer"], table["label"][right])
        ]
        pairs, times = np.unique(np.stack([table["label"], table["answer"]], axis=1), axis=0, return_counts=True)
        return {
            "task": "classification",
            "classes": np.stack(counts, axis=1).tolist(),
            "confusion": np.column_stack([pairs, times]).tolist(),
            "calibration": _calibration(table["confidence"], right),
            "pictures": _mistakes(table[~right]),
            "examples": _entries(table[examples_of(len(table))]),
        }


def _calibration(confidence: np.ndarray, right: np.ndarray) -> list[list[float | None]]:
    tenths = np.clip((confidence * _BINS).astype(int), 0, _BINS - 1)
    rows: list[list[float | None]] = []
    for tenth in range(_BINS):
        there = tenths == tenth
        means = [float(confidence[there].mean()), float(right[there].mean())] if there.any() else [None, None]
        rows.append([int(there.sum()), *means])
    return rows


def _mistakes(table: np.ndarray) -> list[dict[str, Any]]:
    return _entries(table[np.argsort(-table["confidence"], kind="stable")][:PICTURES])


def _entries(table: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "index": int(row["index"]),
            "label": int(row["label"]),
            "answer": int(row["answer"]),
            "confidence": round(float(row["confidence"]), _DECIMALS),
            "of_label": round(float(row["of_label"]), _DECIMALS),
        }
        for row in table
    ]
