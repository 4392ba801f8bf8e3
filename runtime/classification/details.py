"""Details of a classifier's evaluation beyond its metrics, as JSON values (no TF)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from utils.files.packed_arrays import packed
from utils.reporting.evaluation_file import examples_of
from utils.statistics.class_metrics import CALIBRATION_BINS, AnswerTable, confidence_bins

PICTURES = 24
NO_INDEX = -1
_DECIMALS = 6
_ANSWER = np.dtype([("index", "i8"), ("label", "i4"), ("answer", "i4"), ("confidence", "f8"), ("of_label", "f8")])


class Answers:
    """The network's predictions for the examples, 32 bytes each; several processes can merge theirs.

    Args:
        most_scores: The scores of all classes are kept, 4 bytes each, unless there are more than this.
    """

    def __init__(self, most_scores: int = 0) -> None:
        self._parts: list[np.ndarray] = []
        self._num_classes = 0
        self._most_scores = most_scores
        self._scores: list[np.ndarray] | None = []
        self._examples = 0

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
        self._add_scores([(logits - log_sum[:, np.newaxis]).astype(np.float32)], count)

    def merge(self, other: Answers) -> None:
        self._parts += other._parts
        self._num_classes = max(self._num_classes, other._num_classes)
        self._add_scores(other._scores, other._examples)

    def _add_scores(self, scores: list[np.ndarray] | None, examples: int) -> None:
        """Adds logarithms of probabilities, or forgets all if there are too many."""
        self._examples += examples
        if self._scores is None or scores is None or self._examples * self._num_classes > self._most_scores:
            self._scores = None
        else:
            self._scores += scores

    def sorted(self) -> tuple[AnswerTable, np.ndarray, np.ndarray | None]:
        """Returns the answers, their indices in the split and, if kept, the scores ``[n, K]``, by ascending index."""
        table = self._table()
        order = np.lexsort((table["of_label"], table["label"], table["index"]))
        scores = np.concatenate(self._scores)[order] if self._scores else None
        table = table[order]
        answers = AnswerTable(
            labels=table["label"],
            answers=table["answer"],
            confidences=table["confidence"],
            losses=-np.log(np.maximum(table["of_label"], np.finfo(np.float64).tiny)),
            num_classes=self._num_classes,
        )
        return answers, table["index"], scores

    def _table(self) -> np.ndarray:
        return np.concatenate(self._parts) if self._parts else np.empty(0, _ANSWER)

    def details(self) -> dict[str, Any]:
        """Counts per class, the confusion matrix, calibration, and the most confident mistakes.

        "classes" lists for each class the numbers of examples, predictions, and correct predictions. "confusion" lists
        triples of class, predicted class and count, without zeros. "calibration" lists for each tenth of the confidence
        range the number of examples, their mean confidence and their accuracy, null if there are none. "per_image" has
        the index, label and answer of each example, for tests against other runs. "examples" are a selection of all
        examples, "pictures" the most confident mistakes.
        """
        table = self._table()
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
            "per_image": packed({name: table[name] for name in ("index", "label", "answer")}),
            "pictures": _mistakes(table[~right]),
            "examples": _entries(table[examples_of(len(table))]),
        }


def _calibration(confidence: np.ndarray, right: np.ndarray) -> list[list[float | None]]:
    tenths = confidence_bins(confidence)
    rows: list[list[float | None]] = []
    for tenth in range(CALIBRATION_BINS):
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
