"""The post-processing of a detector's endpoints: boxes, scores and suppression.

Shape symbols: N batch, A anchors, D detections, K class slots.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection.boxes.box_distribution import decoded
from object_detection.boxes.centerness import weighed_logits
from object_detection.class_table import ClassTable
from object_detection.postprocessing.non_maximum_suppression import Detections, postprocess
from object_detection.postprocessing.padded_pictures import in_pictures
from utils.data_utils import PICTURE_SIZES
from utils.detection_config import DetectionConfig
from utils.image_sizes import ImageSize, aspect_of

Tensors = dict[str, Any]


def suppression_of(
    detection: DetectionConfig, table: ClassTable, size: ImageSize, anchors: np.ndarray, device: str
) -> Suppression:
    """The post-processing for a network's input of ``size``; other arguments as in ``Suppression``."""
    spec = dataclasses.replace(detection.post_processing, aspect=aspect_of(size))
    return Suppression(
        anchors=anchors,
        detection=dataclasses.replace(detection, post_processing=spec),
        table=table,
        padded_to=size if detection.pads else None,
        device=device,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Suppression:
    """The post-processing of box codes and class logits: decoding and non-maximum suppression.

    ``padded_to`` is the size of the network's input if pictures were padded to it, and ``device`` that of
    ``LayerOptions``.
    """

    anchors: np.ndarray
    detection: DetectionConfig
    table: ClassTable
    padded_to: ImageSize | None = None
    device: str = "cpu"
    is_costly = True
    prediction_names = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")

    @property
    def ends(self) -> tuple[str, ...]:
        central = ("centerness_logits",) if self.detection.heads.centerness else ()
        return ("box_codes", "class_logits", *central)

    def portable(self) -> Suppression:
        return dataclasses.replace(self, device="cpu")

    def predictions(self, endpoints: Tensors) -> Tensors:
        """Predictions with the names and types of TensorFlow's detection exports: float classes (from 1) and counts."""
        found = self._detections(endpoints)
        return {
            "detection_boxes": found.boxes,
            "detection_scores": found.scores,
            "detection_classes": tf.cast(self._category_ids(found), tf.float32),
            "num_detections": tf.cast(found.count, tf.float32),
        }

    def in_pictures(self, predictions: Tensors, sizes: Any) -> Tensors:
        return predictions if self.padded_to is None else in_pictures(predictions, sizes, self.padded_to)

    def outputs(self, endpoints: Tensors, targets: Tensors) -> Tensors:
        found = self._detections(endpoints)
        detections = {
            "detection_boxes": found.boxes,
            "detection_scores": found.scores,
            "detection_classes": self._category_ids(found),
            "num_detections": found.count,
        }
        return {**self.in_pictures(detections, targets.get(PICTURE_SIZES)), **targets}

    def outputs_of(self, predictions: Tensors, targets: Tensors) -> Tensors:
        whole = {name: tf.cast(predictions[name], tf.int32) for name in ("detection_classes", "num_detections")}
        detections = {**{name: predictions[name] for name in self.prediction_names}, **whole}
        return {**self.in_pictures(detections, targets.get(PICTURE_SIZES)), **targets}

    def class_names_of(self, predictions: Tensors) -> Any:
        """The class names of predictions, empty in the rows after an image's last object."""
        names = [""] * (max(self.table.ids) + 1)
        for category, name in zip(self.table.ids, self.table.names, strict=True):
            names[category] = name
        return tf.gather(tf.constant(names), tf.cast(predictions["detection_classes"], tf.int32))

    def _detections(self, endpoints: Tensors) -> Detections:
        """Detections after suppression; all scores of an image are NaN if its outputs are not finite."""
        boxes = decoded(endpoints["box_codes"], self.anchors, self.detection)
        logits = endpoints["class_logits"]
        if self.detection.heads.centerness:
            logits = weighed_logits(logits, endpoints["centerness_logits"])
        found = postprocess(boxes, logits, self.detection.post_processing, device=self.device)
        terms = (tf.reduce_sum(endpoints[name], axis=[1, 2]) for name in self.ends)
        sums = functools.reduce(operator.add, terms)  # not finite if any term is not
        sound = tf.math.is_finite(sums)
        return found._replace(
            scores=tf.where(sound[:, tf.newaxis], found.scores, float("nan")),
            count=tf.where(sound, found.count, tf.shape(found.scores)[1]),
        )

    def _category_ids(self, found: Detections) -> Any:
        """The id of each detection's category; 0 in the rows after the last."""
        ids = tf.gather(tf.constant(self.table.ids, tf.int32), found.classes)
        there = np.arange(ids.shape[1]) < tf.cast(found.count, tf.int64)[:, tf.newaxis]
        return tf.where(there, ids, 0)
