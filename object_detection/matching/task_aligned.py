"""Matching by task alignment: each groundtruth box gets the anchors whose predictions find it best.

The alignment of an anchor with a box is its score for the box's class times the sixth power of the overlap of its
predicted box.

Source: Feng et al., TOOD, section 3.2, arXiv:2108.07755.
Differs from the paper: the candidates of a box are chosen among the anchors in it, so that it has as many as there are,
up to ``MOST``.

Shape symbols: N batch, G groundtruth boxes, A anchors, K class slots.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from object_detection.boxes import box_ops
from object_detection.matching.matcher import best_overlapping

MOST = 13
"""Anchors that a box may get."""
OVERLAP_POWER = 6.0


class Objects(NamedTuple):
    """The objects to match.

    Attributes:
        boxes: ``[N, G, 4]``.
        slots: ``[N, G]`` int32, the class slot of each; -1 for none, for which the overlap alone decides.
        valid: ``[N, G]`` boolean, False for padding, which matches nothing.
    """

    boxes: tf.Tensor
    slots: tf.Tensor
    valid: tf.Tensor


class Alignment(NamedTuple):
    """The result of matching.

    Attributes:
        matches: ``[N, A]`` int64, the index of a groundtruth box or ``matcher.UNMATCHED``.
        quality: ``[N, A]``, the alignment of matched anchors, scaled so that the largest of a box is the largest
            overlap of its anchors; zeros for others.
    """

    matches: tf.Tensor
    quality: tf.Tensor


def align(objects: Objects, anchors: np.ndarray, predicted: tf.Tensor, logits: tf.Tensor) -> Alignment:
    """Matches anchors with groundtruth boxes by the predictions at the anchors.

    Of the anchors whose center is inside a box and whose prediction overlaps it, the ``MOST`` best aligned ones train
    on it. Of several boxes, an anchor gets the one that its prediction overlaps most. Among equals the lower index
    wins.

    Args:
        objects: The objects.
        anchors: ``[A, 4]``.
        predicted: ``[N, A, 4]``, the predicted boxes.
        logits: ``[N, A, K]``.
    """
    predicted, logits = tf.stop_gradient(predicted), tf.stop_gradient(logits)
    overlaps = box_ops.iou(objects.boxes, predicted)
    inside = box_ops.contain(objects.boxes, (anchors[:, :2] + anchors[:, 2:]) / 2) & objects.valid[..., tf.newaxis]
    # The sixth power of an overlap of 1e-7 is no number of float32, its logarithm is.
    logarithms = _log_scores(objects.slots, logits) + OVERLAP_POWER * tf.math.log(overlaps)
    logarithms = tf.where(inside, logarithms, -math.inf)
    matches = best_overlapping(_best(logarithms), overlaps)
    return Alignment(matches, _quality(matches, logarithms, overlaps))


def _log_scores(slots: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the logarithm of each anchor's score for the class of each object, ``[N, G, A]``."""
    slots = tf.cast(slots, tf.int64)  # int32 is computed on the host
    of_objects = tf.gather(logits, tf.maximum(slots, 0), axis=2, batch_dims=1)
    scores = tf.math.log_sigmoid(tf.transpose(of_objects, [0, 2, 1]))
    return tf.where(slots[..., tf.newaxis] >= 0, scores, 0.0)


def _best(logarithms: tf.Tensor) -> tf.Tensor:
    """Returns a mask of the ``MOST`` largest of each row that are above minus infinity, ``[N, G, A]``."""
    count = logarithms.shape[2]
    best = tf.cast(tf.math.top_k(logarithms, min(MOST, count)).indices, tf.int64)
    places = (best[:, :, rank : rank + 1] for rank in range(best.shape[2]))  # GPUs split no int64
    chosen = functools.reduce(tf.logical_or, [tf.equal(place, np.arange(count)) for place in places])
    return chosen & (logarithms > -math.inf)


def _quality(matches: tf.Tensor, logarithms: tf.Tensor, overlaps: tf.Tensor) -> tf.Tensor:
    """Returns ``Alignment.quality``."""
    matched = tf.one_hot(matches, tf.shape(overlaps)[1], axis=1) > 0  # UNMATCHED is in no row
    largest = tf.reduce_max(tf.where(matched, logarithms, -math.inf), axis=2, keepdims=True)
    scale = tf.reduce_max(tf.where(matched, overlaps, 0.0), axis=2, keepdims=True)
    return tf.reduce_sum(tf.where(matched, tf.exp(logarithms - largest) * scale, 0.0), axis=1)
