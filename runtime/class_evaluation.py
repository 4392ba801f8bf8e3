"""Accuracy and loss of a classifier over a split, accumulated example by example (no TF)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtime.class_details import Answers
from utils.errors import RunError

CROSS_ENTROPY_UNITS = 2.0**40


class ClassificationEvaluator:
    """Top-1, top-5 and top-k accuracy and mean cross-entropy of a split, each example counted once."""

    def __init__(self, top_k: int) -> None:
        self._ks = sorted({1, 5, top_k})
        self._hits = dict.fromkeys(self._ks, 0)
        self._images = 0
        self._cross_entropy = 0  # in units of 2^-40: the sum depends neither on order nor on batches
        self._answers = Answers()

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
        self._answers.add(arrays, logits, log_sum)

    def merge(self, other: ClassificationEvaluator) -> None:
        for k in self._ks:
            self._hits[k] += other._hits[k]
        self._cross_entropy += other._cross_entropy
        self._images += other._images
        self._answers.merge(other._answers)

    def report(self) -> str:
        return ""

    def artefacts(self) -> dict[str, bytes]:
        return {}

    def details(self) -> dict[str, Any]:
        return self._answers.details()

    def result(self) -> dict[str, float]:
        """Accuracies as fractions, the loss, and the number of images; every image counts if k exceeds the class count.

        Raises:
            RunError: No example was evaluated.
        """
        if not self._images:
            raise RunError("no image could be evaluated")
        accuracies = {f"top{k}_accuracy": self._hits[k] / self._images for k in self._ks}
        loss = self._cross_entropy / CROSS_ENTROPY_UNITS / self._images
        return {**accuracies, "loss": loss, "images": self._images}
