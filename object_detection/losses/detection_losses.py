"""The losses of a detector: its outputs at the anchors against the targets of matching.

Shape symbols: N batch, A anchors.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from model.specs import CODE_SIZE
from object_detection.boxes.box_coder import decode
from object_detection.boxes.box_distribution import cell_sides, decoded, distances_of, distribution_focal_loss
from object_detection.boxes.box_ops import aligned_iou, with_aspect
from object_detection.boxes.centerness import centerness
from object_detection.groundtruth import Groundtruth
from object_detection.losses.box_losses import LOSSES_OF_BOXES, huber_loss
from object_detection.losses.focal_losses import focal_loss_of_slots, quality_focal_loss_of_slots
from object_detection.matching.target_assigner import targets_of
from object_detection.matching.task_aligned import Objects, align
from utils.detection_config import LARGEST_LOG, TASK_ALIGNED, DetectionConfig

Tensors = dict[str, Any]


class _Boxes(NamedTuple):
    """The predicted box and the target of each anchor, ``[N, A, 4]``; the target of others is the anchor."""

    predicted: tf.Tensor
    target: tf.Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectionLosses:
    """The losses of the endpoints of ``model.ssd``, for anchors ``[A, 4]``; ``aspect`` is width over height of images.

    Targets are the fields of ``target_assigner.Targets`` by name. With the matcher "task_aligned", these are the first
    ones, and there are those of ``groundtruth.Groundtruth`` under "objects_" and their name, and "aligned" ``[N]``,
    1 where the predictions decide and 0 where the first ones hold.
    """

    anchors: np.ndarray
    aspect: float
    detection: DetectionConfig

    def settled(self, endpoints: Tensors, targets: Tensors) -> Tensors:
        """Returns the targets, which the predictions decide on with the matcher "task_aligned".

        With quality focal loss, the alignment of an anchor is then the target of its class ("qualities") and a factor
        of the weight of its box.

        Source: Feng et al., TOOD, section 3.3, arXiv:2108.07755.
        """
        if self.detection.matcher.kind != TASK_ALIGNED:
            return targets
        groundtruth = Groundtruth(*(targets[f"objects_{name}"] for name in Groundtruth._fields))
        objects = Objects(groundtruth.boxes, groundtruth.labels, groundtruth.weights > 0)
        predicted = decoded(endpoints["box_codes"], self.anchors, self._clamped())
        found = align(objects, self.anchors, predicted, endpoints["class_logits"])
        aligned = targets_of(found.matches, tf.constant(self.anchors), groundtruth, self.detection.coder)
        if self.detection.losses.class_loss != "focal":
            aligned = aligned._replace(code_weights=aligned.code_weights * found.quality)
        by_predictions = targets["aligned"][:, tf.newaxis] > 0
        settled = {}
        for name, value in aligned._asdict().items():
            chosen = by_predictions if value.shape.rank == 2 else by_predictions[..., tf.newaxis]
            settled[name] = tf.where(chosen, value, targets[name])
        return settled | {"qualities": found.quality, "by_predictions": by_predictions}

    def losses(self, endpoints: Tensors, targets: Tensors, mask: Any, matched: Any) -> Tensors:
        """Weighted sums over the anchors of all images, divided by ``matched``.

        Args:
            endpoints: Those of the network in training, "box_codes" included.
            targets: As ``settled`` returns them.
            mask: ``[N]``, 1 for examples that count.
            matched: The normalizer.
        """
        spec, heads = self.detection.losses, self.detection.heads
        weights = targets["code_weights"] * mask[:, tf.newaxis]
        boxes = self._boxes(endpoints, targets) if self._compares_boxes else None
        classification = self._class_loss(endpoints["class_logits"], targets, mask, boxes)
        localization = self._box_loss(endpoints["box_codes"], targets["codes"], boxes)
        found = {
            "classification_loss": spec.classification_weight * classification / matched,
            "localization_loss": spec.localization_weight
            * tf.reduce_sum(localization * weights)
            / (matched * (CODE_SIZE if spec.box_loss == "huber" else 1)),
        }
        if heads.distribution and boxes is not None:
            of_anchors = distribution_focal_loss(endpoints["box_logits"], self._distances(boxes.target))
            found["distribution_loss"] = spec.distribution_weight * tf.reduce_sum(of_anchors * weights) / matched
        if heads.centerness and boxes is not None:
            of_anchors = self._centerness_loss(endpoints["centerness_logits"], boxes.target)
            found["centerness_loss"] = spec.centerness_weight * tf.reduce_sum(of_anchors * weights) / matched
        return found

    @property
    def _compares_boxes(self) -> bool:
        """True if a loss needs decoded boxes."""
        spec, heads = self.detection.losses, self.detection.heads
        return spec.box_loss != "huber" or spec.class_loss != "focal" or heads.distribution or heads.centerness

    def _clamped(self) -> DetectionConfig:
        """The detector with a limit for decoded boxes, which those of the first steps may exceed."""
        coder = dataclasses.replace(self.detection.coder, largest_log=LARGEST_LOG)
        return dataclasses.replace(self.detection, coder=coder)

    def _boxes(self, endpoints: Tensors, targets: Tensors) -> _Boxes:
        clamped = self._clamped()
        predicted = decoded(endpoints["box_codes"], self.anchors, clamped)
        return _Boxes(predicted, decode(targets["codes"], tf.constant(self.anchors), clamped.coder))

    def _distances(self, boxes: tf.Tensor) -> tf.Tensor:
        return distances_of(boxes, self.anchors, cell_sides(self.anchors, self.detection.anchors))

    def _class_loss(self, logits: Any, targets: Tensors, mask: Any, boxes: _Boxes | None) -> Any:
        """The weighted sum over all anchors."""
        spec = self.detection.losses
        weights = targets["label_weights"] * mask[:, tf.newaxis]
        if spec.class_loss == "focal" or boxes is None:
            return focal_loss_of_slots(
                logits, targets["labels"], weights, alpha=spec.focal_alpha, gamma=spec.focal_gamma
            )
        qualities = tf.stop_gradient(aligned_iou(*boxes))
        if "qualities" in targets:
            qualities = tf.where(targets["by_predictions"], targets["qualities"], qualities)
        return quality_focal_loss_of_slots(logits, targets["labels"], weights, qualities, beta=spec.focal_gamma)

    def _box_loss(self, codes: Any, targets: Any, boxes: _Boxes | None) -> Any:
        """The loss of each anchor, ``[N, A]``."""
        spec = self.detection.losses
        if spec.box_loss != "huber" and boxes is not None:
            in_proportion = boxes if self.aspect == 1 else (with_aspect(each, self.aspect) for each in boxes)
            return LOSSES_OF_BOXES[spec.box_loss](*in_proportion)  # they compare distances along both axes
        if self.detection.heads.distribution and boxes is not None:
            targets = self._distances(boxes.target)  # which this head predicts in place of codes
        return huber_loss(codes, targets, delta=spec.huber_delta)

    def _centerness_loss(self, logits: Any, boxes: tf.Tensor) -> Any:
        """The cross-entropy of each anchor, ``[N, A]``, of ``logits`` ``[N, A, 1]``."""
        central = centerness(boxes, self.anchors)
        return tf.nn.sigmoid_cross_entropy_with_logits(labels=central, logits=logits[..., 0])
