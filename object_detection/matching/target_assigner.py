"""Assignment of training targets to anchors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from object_detection.boxes import box_ops
from object_detection.boxes.box_coder import encode
from object_detection.groundtruth import Groundtruth
from object_detection.matching.atss import match_adaptively
from object_detection.matching.matcher import IGNORED, match
from utils.detection_config import BoxCoderSpec, MatcherSpec

IGNORED_SHARE = 0.5  # share of an anchor's area inside an ignored region from which the anchor is ignored


class Targets(NamedTuple):
    """Targets of each anchor.

    Attributes:
        labels: ``[N, A]`` int32, the positive class slot; -1 for none.
        label_weights: ``[N, A]`` float32, weights of the classification loss.
        codes: ``[N, A, 4]`` float32, box codes of matched anchors, zeros for others.
        code_weights: ``[N, A]`` float32, weights of the localization loss.
        matches: ``[N, A]`` int64, the matched groundtruth box, or ``matcher.UNMATCHED``, ``matcher.IGNORED``.
    """

    labels: tf.Tensor
    label_weights: tf.Tensor
    codes: tf.Tensor
    code_weights: tf.Tensor
    matches: tf.Tensor


def assign_targets(
    anchors: tf.Tensor,
    groundtruth: Groundtruth,
    matcher: MatcherSpec,
    coder: BoxCoderSpec,
    cells: Sequence[int] = (),
    aspect: float = 1.0,
) -> Targets:
    """Assigns targets to all anchors, for a whole batch at once.

    Args:
        anchors: ``[A, 4]``.
        groundtruth: The objects.
        matcher: How anchors are matched with objects.
        coder: Constants of the codes.
        cells: The number of cells of each level, which the matcher "iou" does not need.
        aspect: Width over height of the image, likewise.
    """
    valid = groundtruth.weights > 0
    if matcher.kind == "iou":
        matches = match(box_ops.iou(groundtruth.boxes, anchors[tf.newaxis]), valid, matcher)
    else:  # before there are predictions, "task_aligned" matches as "atss" does
        matches = match_adaptively(groundtruth.boxes, valid, anchors, cells, aspect)
    return targets_of(matches, anchors, groundtruth, coder)


def targets_of(matches: tf.Tensor, anchors: tf.Tensor, groundtruth: Groundtruth, coder: BoxCoderSpec) -> Targets:
    """Returns the targets of anchors that are matched already; arguments as in ``assign_targets`` and ``Targets``."""
    matched, row = matches >= 0, tf.maximum(matches, 0)
    boxes, labels, weights = (
        tf.gather(tf.pad(rows, [(0, 0), (0, 1), *[(0, 0)] * (len(rows.shape) - 2)]), row, batch_dims=1)
        for rows in (groundtruth.boxes, groundtruth.labels, groundtruth.weights)
    )
    no_background = tf.equal(matches, IGNORED) | _in_ignored(anchors, groundtruth)
    codes = encode(tf.where(matched[..., tf.newaxis], boxes, anchors), anchors[tf.newaxis], coder)
    return Targets(
        labels=tf.where(matched, labels, -1),
        label_weights=tf.where(matched, weights, tf.where(no_background, 0.0, 1.0)),
        codes=tf.where(matched[..., tf.newaxis], codes, 0.0),
        code_weights=tf.where(matched, weights, 0.0),
        matches=matches,
    )


def _in_ignored(anchors: tf.Tensor, groundtruth: Groundtruth) -> tf.Tensor:
    """Returns a mask of the anchors with at least half of their area in an ignored region, ``[N, A]``."""
    shared = box_ops.intersection(groundtruth.boxes, anchors[tf.newaxis])
    enough = shared >= IGNORED_SHARE * box_ops.area(anchors)
    return tf.reduce_any(enough & groundtruth.ignored[..., tf.newaxis], axis=1)
