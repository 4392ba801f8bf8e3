"""What the network is trained to say at each anchor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from object_detection import box_ops
from object_detection.box_coder import BoxCoder
from object_detection.matcher import IGNORED, Matcher


class Groundtruth(NamedTuple):
    """The objects of a batch of images, padded to G rows each.

    Attributes:
        boxes: ``[N, G, 4]``; zeros where padded.
        labels: ``[N, G]`` int32, the class slot to train; -1 trains none.
        weights: ``[N, G]`` float32; 0 where padded, and for what is not to be trained.
    """

    boxes: tf.Tensor
    labels: tf.Tensor
    weights: tf.Tensor


class Targets(NamedTuple):
    """What each anchor is trained with.

    Attributes:
        labels: ``[N, A]`` int32, the class slot that is on; -1 where none is.
        label_weights: ``[N, A]`` float32, of the classification loss.
        codes: ``[N, A, 4]`` float32, zeros but for matched anchors.
        code_weights: ``[N, A]`` float32, of the localization loss.
        matches: ``[N, A]`` int32, the matched groundtruth box, or ``matcher.UNMATCHED``, ``matcher.IGNORED``.
    """

    labels: tf.Tensor
    label_weights: tf.Tensor
    codes: tf.Tensor
    code_weights: tf.Tensor
    matches: tf.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAssigner:
    """Matches anchors to groundtruth boxes by intersection over union, a whole batch at once."""

    matcher: Matcher
    coder: BoxCoder

    def assign(self, anchors: tf.Tensor, groundtruth: Groundtruth) -> Targets:
        """Targets of all ``anchors`` ``[A, 4]``."""
        groundtruth = _trimmed(groundtruth)
        valid = groundtruth.weights > 0
        matches = self.matcher.match(box_ops.iou(groundtruth.boxes, anchors[tf.newaxis]), valid)
        matched, row = matches >= 0, tf.maximum(matches, 0)
        boxes, labels, weights = (
            tf.gather(tf.pad(rows, [(0, 0), (0, 1), *[(0, 0)] * (len(rows.shape) - 2)]), row, batch_dims=1)
            for rows in groundtruth
        )
        background = tf.where(tf.equal(matches, IGNORED), 0.0, 1.0)
        codes = self.coder.encode(tf.where(matched[..., tf.newaxis], boxes, anchors), anchors[tf.newaxis])
        return Targets(
            labels=tf.where(matched, labels, -1),
            label_weights=tf.where(matched, weights, background),
            codes=tf.where(matched[..., tf.newaxis], codes, 0.0),
            code_weights=tf.where(matched, weights, 0.0),
            matches=matches,
        )


def _trimmed(groundtruth: Groundtruth) -> Groundtruth:
    """Without the rows that are padding in every image: the cost of matching grows with the rows."""
    rows = tf.range(1, tf.shape(groundtruth.weights)[1] + 1)
    used = tf.reduce_max(tf.where(groundtruth.weights > 0, rows, 0))
    return Groundtruth(*(tensor[:, :used] for tensor in groundtruth))
