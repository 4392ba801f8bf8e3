"""From the endpoints of a classifier to its predictions.

Shape symbols: N batch, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from runtime.inference.logits import log_odds, log_probabilities
from runtime.task import TensorMap


@dataclass(frozen=True, slots=True, kw_only=True)
class MostProbableClass:
    """The post-processing of logits."""

    num_classes: int
    class_names: Sequence[str] | None
    ends = ("logits",)
    is_costly = False
    prediction_names = ("classes", "probabilities")

    def portable(self) -> MostProbableClass:
        return self

    def predictions(self, endpoints: TensorMap) -> TensorMap:
        logits = endpoints["logits"]
        probabilities = endpoints["probabilities"] if "probabilities" in endpoints else tf.nn.softmax(logits)
        return {
            "classes": tf.argmax(logits, axis=1, output_type=tf.int32, name="ArgMax"),
            "probabilities": probabilities,
        }

    def outputs(self, endpoints: TensorMap, targets: TensorMap) -> TensorMap:
        return {"logits": endpoints["logits"], "labels": targets["labels"]}

    def outputs_of(self, predictions: TensorMap, targets: TensorMap) -> TensorMap:
        """The outputs from exported predictions; without logits, the logarithms of the probabilities replace them."""
        if "logits" in predictions:
            return self.outputs(predictions, targets)
        logits = log_probabilities(predictions["probabilities"])
        return self.outputs({"logits": logits}, targets)

    def in_pictures(self, predictions: TensorMap, sizes: Any) -> TensorMap:
        return predictions

    def class_names_of(self, predictions: TensorMap) -> Any:
        names = self.class_names
        if not names:
            return None
        padded = (*names, *map(str, range(len(names), self.num_classes)))[: self.num_classes]
        return tf.gather(tf.constant(padded), predictions["classes"])


@dataclass(frozen=True, slots=True, kw_only=True)
class EachClass:
    """The post-processing of logits for images with several classes."""

    ends = ("logits",)
    is_costly = False
    prediction_names = ("probabilities",)

    def portable(self) -> EachClass:
        return self

    def predictions(self, endpoints: TensorMap) -> TensorMap:
        if "probabilities" in endpoints:
            return {"probabilities": endpoints["probabilities"]}
        return {"probabilities": tf.sigmoid(endpoints["logits"])}

    def outputs(self, endpoints: TensorMap, targets: TensorMap) -> TensorMap:
        return {"logits": endpoints["logits"], "labels": targets["labels"]}

    def outputs_of(self, predictions: TensorMap, targets: TensorMap) -> TensorMap:
        """The outputs from exported predictions; without logits, their probabilities give them."""
        if "logits" in predictions:
            return self.outputs(predictions, targets)
        return self.outputs({"logits": log_odds(predictions["probabilities"])}, targets)

    def in_pictures(self, predictions: TensorMap, sizes: Any) -> TensorMap:
        return predictions

    def class_names_of(self, predictions: TensorMap) -> Any:
        return None
