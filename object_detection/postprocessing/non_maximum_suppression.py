"""Postprocessing: from the network's boxes and logits to detections, by non-maximum suppression.

The steps: keep sigmoid scores above a threshold; apply greedy non-maximum suppression within each class, on unclipped
boxes; clip boxes to the image and drop empty ones; keep the best of all classes, sorted.

Scores are compared as logits, which have the same order; only the final detections go through the sigmoid. Among equal
logits the lower anchor comes first within a class, and the lower class among classes. The result does not depend on the
other images of the batch. An anchor with a NaN among its logits or in its box detects nothing.

Shape symbols: N batch, A anchors, K classes, k candidates, D detections.

Source: Liu et al., SSD, section 3.1, arXiv:1512.02325; Lin et al., Focal Loss for Dense Object Detection, section 4.1,
arXiv:1708.02002. Differs from the latter: the best candidates are taken from all levels of the pyramid together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from object_detection.boxes import box_ops
from object_detection.postprocessing.score_decay import decay_at_once, decay_in_turn
from utils.detection_config import PostProcessingSpec

_LARGEST_EXACT = 2**24  # float32 represents every whole number up to here
_VECTOR = 64  # elements: a remainder after whole vectors may be computed differently, in the last bit


class Detections(NamedTuple):
    """The objects found in a batch of images, best first; zeros in the rows after an image's last.

    Attributes:
        boxes: ``[N, D, 4]`` within [0, 1].
        scores: ``[N, D]``.
        classes: ``[N, D]`` int32, index among the K classes.
        count: ``[N]`` int32, objects of each image.
    """

    boxes: tf.Tensor
    scores: tf.Tensor
    classes: tf.Tensor
    count: tf.Tensor


class _Survivors(NamedTuple):
    """Detections that survive suppression, class by class and best first, S rows per image.

    Attributes:
        boxes: ``[N, S, 4]``, not yet clipped.
        logits: ``[N, S]``; -inf in the rows after an image's last.
        classes: ``[N, S]`` int32.
    """

    boxes: tf.Tensor
    logits: tf.Tensor
    classes: tf.Tensor


def postprocess(boxes: tf.Tensor, logits: tf.Tensor, spec: PostProcessingSpec, *, device: str = "cpu") -> Detections:
    """Returns the detections of a batch.

    Args:
        boxes: ``[N, A, 4]`` decoded, not clipped; A is static.
        logits: ``[N, A, K]`` float32 of the real classes; K is static.
        spec: Thresholds and limits.
        device: "gpu" to suppress among the best candidates by matrices. TensorFlow's operation has a kernel for CPUs
            only, where it is faster; the detections are the same.

    Raises:
        ValueError: There are too many pairs of candidate and class to number them in float32.
    """
    anchors, classes = logits.shape.as_list()[1:]
    rows = anchors if spec.candidates is None else min(spec.candidates, anchors * classes)
    if rows * classes > _LARGEST_EXACT:
        raise ValueError(f"{rows} candidates of {classes} classes: must be at most {_LARGEST_EXACT} pairs")
    all_pairs = spec.candidates is None
    survivors = _all_pairs(boxes, logits, spec) if all_pairs else _best_pairs(boxes, logits, spec, device)
    return _best_of_image(survivors, spec.max_total_detections)


def _best_pairs(boxes: tf.Tensor, logits: tf.Tensor, spec: PostProcessingSpec, device: str) -> _Survivors:
    """Applies suppression among the k best (anchor, class) pairs of each image."""
    anchors, classes = logits.shape.as_list()[1:]
    best, anchor, label = _top_pairs(logits, min(spec.candidates, anchors * classes))
    boxes = tf.gather(boxes, anchor, batch_dims=1)
    if spec.suppression in ("soft", "matrix"):
        return _lower(boxes, best, label, spec)
    return _drop(boxes, best, label, classes, spec, device)


def _drop(
    boxes: tf.Tensor, best: tf.Tensor, label: tf.Tensor, classes: int, spec: PostProcessingSpec, device: str
) -> _Survivors:
    """Drops candidates that overlap better ones: boxes ``[N, k, 4]``, logits and classes ``[N, k]``, best first."""
    count = best.shape[1]
    group, groups = (tf.zeros_like(label), 1) if spec.class_agnostic else (label, classes)
    # The candidates of an image are sorted, so a candidate's number is its place in this order.
    rank = tf.constant(np.arange(count, 0, -1, dtype=np.float32))
    passes = best > _logit(spec.score_threshold)
    base = tf.cast(groups - 1 - group, tf.float32) * count
    keys = tf.where(passes, base + rank, 0.0)
    most = min(count, groups * spec.of_class)
    if device == "gpu" or spec.suppression == "diou":
        keys = _suppress_by_matrices(boxes, keys, group, most, spec)
    else:
        is_group = tf.equal(group[..., tf.newaxis], tf.range(groups, dtype=tf.int64))
        keys = _suppress(boxes, tf.where(is_group, keys[..., tf.newaxis], 0.0), most, spec)
    row = tf.where(keys > 0, count - 1 - (keys - 1) % count, 0)
    return _Survivors(
        boxes=tf.gather(boxes, row, batch_dims=1),
        logits=tf.where(keys > 0, tf.gather(best, row, batch_dims=1), -math.inf),
        classes=tf.cast(tf.gather(label, row, batch_dims=1), tf.int32),
    )


def _lower(boxes: tf.Tensor, best: tf.Tensor, label: tf.Tensor, spec: PostProcessingSpec) -> _Survivors:
    """Lowers the scores of candidates that overlap better ones; arguments as in ``_drop``."""
    before = tf.sigmoid(best)
    overlaps = _overlaps(boxes)
    if not spec.class_agnostic:
        overlaps = tf.where(tf.equal(label[:, :, tf.newaxis], label[:, tf.newaxis]), overlaps, 0.0)
    scores = tf.where(best > _logit(spec.score_threshold), before, 0.0)
    if spec.suppression == "matrix":
        scores = decay_at_once(scores, overlaps)
    else:
        scores = decay_in_turn(scores, overlaps, spec.max_total_detections, spec.soft_sigma)
    lowered = tf.where(tf.equal(scores, before), best, tf.math.log(scores) - tf.math.log1p(-scores))
    kept = scores > max(spec.score_threshold, 0.0)
    return _Survivors(boxes, tf.where(kept, lowered, -math.inf), tf.cast(label, tf.int32))


def _top_pairs(logits: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns logits, anchors and classes of each image's best pairs, ``[N, k]`` each, best first.

    The k best pairs belong to the k anchors with the highest best logit, so only these need to be searched. Anchors
    and classes are int64: TensorFlow computes int32 in host memory (2.21).
    """
    anchors, classes = logits.shape.as_list()[1:]
    best = tf.reduce_max(logits, axis=2)
    best = tf.where(tf.math.is_nan(best), -math.inf, best)
    chosen = tf.math.top_k(best, min(count, anchors), sorted=False).indices
    chosen = tf.sort(tf.cast(chosen, tf.int64), axis=1)  # ties are decided by the anchor
    pairs = _without_nan(tf.gather(logits, chosen, batch_dims=1))
    top = tf.math.top_k(tf.reshape(pairs, [-1, chosen.shape[1] * classes]), count)
    pair = tf.cast(top.indices, tf.int64)
    return top.values, tf.gather(chosen, pair // classes, batch_dims=1), pair % classes


def _all_pairs(boxes: tf.Tensor, logits: tf.Tensor, spec: PostProcessingSpec) -> _Survivors:
    """Applies suppression among all anchors, class by class, as the original program does; slow."""
    anchors, classes = logits.shape.as_list()[1:]
    by_class = tf.transpose(_without_nan(logits), [0, 2, 1])
    order = tf.math.top_k(by_class, anchors).indices
    base = tf.range(classes - 1, -1, -1, dtype=tf.float32)[:, tf.newaxis] * anchors
    passes = by_class > _logit(spec.score_threshold)
    keys = tf.where(passes, base + tf.cast(anchors - _inverse(order), tf.float32), 0.0)
    most = classes * min(anchors, spec.of_class)
    keys = _suppress(boxes, tf.transpose(keys, [0, 2, 1]), most, spec)
    label = tf.where(keys > 0, classes - 1 - (keys - 1) // anchors, 0)
    rank = tf.where(keys > 0, anchors - 1 - (keys - 1) % anchors, 0)
    flat = tf.cast(tf.reshape(order, [-1, classes * anchors]), tf.int64)
    anchor = tf.gather(flat, label * anchors + rank, batch_dims=1)
    best = tf.gather(tf.reshape(by_class, [-1, classes * anchors]), label * anchors + anchor, batch_dims=1)
    return _Survivors(
        boxes=tf.gather(boxes, anchor, batch_dims=1),
        logits=tf.where(keys > 0, best, -math.inf),
        classes=tf.cast(label, tf.int32),
    )


def _inverse(order: tf.Tensor) -> tf.Tensor:
    """Inverts permutations ``[N, K, A]`` of the last axis."""
    rows, length = tf.size(order) // order.shape[2], order.shape[2]
    first = tf.range(rows)[:, tf.newaxis] * length
    places = tf.math.invert_permutation(tf.reshape(tf.reshape(order, [rows, length]) + first, [-1]))
    return tf.reshape(tf.reshape(places, [rows, length]) - first, tf.shape(order))


def _suppress(boxes: tf.Tensor, keys: tf.Tensor, most: int, spec: PostProcessingSpec) -> tf.Tensor:
    """Suppresses overlapping boxes greedily within each class.

    TensorFlow's operation ranks by scores and receives keys in their place. The keys are unique, so there are no ties,
    and each key identifies its candidate and class.

    Args:
        boxes: ``[N, k, 4]``.
        keys: ``[N, k, K]`` float32 whole numbers: in the order of the logits within a class, and larger for a class
            than for the next; 0 for pairs that are not candidates.
        most: Largest number of survivors per image.
        spec: Thresholds and limits.

    Returns:
        ``[N, most]`` int64, the surviving keys, largest first, 0 after the last.
    """
    found = tf.image.combined_non_max_suppression(
        boxes[:, :, tf.newaxis],
        keys,
        max_output_size_per_class=spec.of_class,
        max_total_size=most,
        iou_threshold=spec.iou_threshold,
        score_threshold=0.0,
        clip_boxes=False,
    )
    return tf.cast(found.nmsed_scores, tf.int64)


def _suppress_by_matrices(
    boxes: tf.Tensor, keys: tf.Tensor, label: tf.Tensor, most: int, spec: PostProcessingSpec
) -> tf.Tensor:
    """Computes ``_suppress`` of sorted candidates of one class each, in operations that GPUs run.

    A candidate survives if no survivor before it hides it. Beginning with all, each round corrects at least the first
    candidate that is still wrong, so the rounds end in what greedy suppression gives; usually a few suffice.

    Args:
        boxes: ``[N, k, 4]``, best first.
        keys: ``[N, k]``, as in ``_suppress``.
        label: ``[N, k]``, the class of each candidate.
        most: As in ``_suppress``.
        spec: Thresholds and limits.
    """
    count = keys.shape[1]
    before = np.triu(np.ones([count, count], np.bool_), k=1)
    rivals = tf.equal(label[:, :, tf.newaxis], label[:, tf.newaxis]) & before
    overlaps = _overlaps(boxes) - (_distances(boxes, spec.aspect) if spec.suppression == "diou" else 0.0)
    hides = tf.cast((overlaps > spec.iou_threshold) & rivals, tf.float32)
    candidates = keys > 0

    def visible(alive: tf.Tensor) -> tf.Tensor:
        """Returns the candidates that none of those alive hides."""
        hidden_by = tf.linalg.matvec(hides, tf.cast(alive, tf.float32), transpose_a=True)
        return candidates & tf.equal(hidden_by, 0.0)

    alive, _ = tf.while_loop(
        lambda alive, former: tf.reduce_any(tf.not_equal(alive, former)),
        lambda alive, _: (visible(alive), alive),
        (visible(candidates), candidates),
    )
    better = tf.linalg.matvec(tf.cast(rivals, tf.float32), tf.cast(alive, tf.float32), transpose_a=True)
    alive &= better < spec.of_class
    return tf.cast(tf.math.top_k(tf.where(alive, keys, 0.0), most).values, tf.int64)


def _overlaps(boxes: tf.Tensor) -> tf.Tensor:
    """Returns ``[N, k, k]``, the intersection over union as TensorFlow's operation rounds it; 0 without area."""
    corner, opposite = tf.split(boxes, 2, axis=2)
    low, high = tf.minimum(corner, opposite), tf.maximum(corner, opposite)
    first = tf.maximum(low[:, :, tf.newaxis], low[:, tf.newaxis])
    last = tf.minimum(high[:, :, tf.newaxis], high[:, tf.newaxis])
    height, width = tf.unstack(tf.maximum(last - first, 0.0), axis=3)
    shared, areas = height * width, (high[..., 0] - low[..., 0]) * (high[..., 1] - low[..., 1])
    one, other = areas[:, :, tf.newaxis], areas[:, tf.newaxis]
    return tf.where((one <= 0) | (other <= 0), 0.0, shared / (one + other - shared))


def _distances(boxes: tf.Tensor, aspect: float) -> tf.Tensor:
    """Returns ``[N, k, k]``, the squared distance of the centers over the squared diagonal of the box around both.

    Source: Zheng et al., Distance-IoU Loss, section 3.4, arXiv:1911.08287.
    """
    boxes = boxes if aspect == 1 else box_ops.with_aspect(boxes, aspect)
    first, second = boxes[:, :, tf.newaxis], boxes[:, tf.newaxis]
    low, high = tf.minimum(first[..., :2], second[..., :2]), tf.maximum(first[..., 2:], second[..., 2:])
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    between = tf.reduce_sum(tf.square(middle[:, :, tf.newaxis] - middle[:, tf.newaxis]), axis=3)
    return tf.math.divide_no_nan(between, tf.reduce_sum(tf.square(high - low), axis=3))


def _best_of_image(survivors: _Survivors, most: int) -> Detections:
    window = tf.constant([0.0, 0.0, 1.0, 1.0])
    visible = (box_ops.area(survivors.boxes) > 0) & box_ops.touches_inside(survivors.boxes, window)  # false for NaN
    logits = tf.where(visible, survivors.logits, -math.inf)
    if logits.shape[1] < most:
        missing = tf.fill([tf.shape(logits)[0], most - logits.shape[1]], -math.inf)
        logits = tf.concat([logits, missing], axis=1)
    best, row = tf.math.top_k(logits, most)
    real = best > -math.inf
    row = tf.where(real, row, 0)
    boxes, classes = (tf.gather(tensor, row, batch_dims=1) for tensor in (survivors.boxes, survivors.classes))
    return Detections(
        boxes=tf.where(real[..., tf.newaxis], box_ops.clip(boxes, window), 0.0),
        scores=tf.where(real, _sigmoid(best), 0.0),
        classes=tf.where(real, classes, 0),
        count=tf.cast(tf.reduce_sum(tf.cast(real, tf.float32), axis=1), tf.int32),
    )


def _sigmoid(logits: tf.Tensor) -> tf.Tensor:
    """Computes scores ``[N, D]`` whose bits do not depend on the batch."""
    width = logits.shape[1]
    padded = tf.pad(logits, [(0, 0), (0, -width % _VECTOR)])
    return tf.sigmoid(padded)[:, :width]


def _logit(score: float) -> np.float32:
    """Returns the logit above which the sigmoid exceeds ``score``."""
    if score <= 0:
        return np.float32(-math.inf)
    return np.float32(math.log(score) - math.log1p(-score)) if score < 1 else np.float32(math.inf)


def _without_nan(logits: tf.Tensor) -> tf.Tensor:
    """Returns logits ``[N, A, K]``, with -inf for all classes of an anchor that has a NaN."""
    broken = tf.reduce_any(tf.math.is_nan(logits), axis=2, keepdims=True)
    return tf.where(broken, -math.inf, logits)
