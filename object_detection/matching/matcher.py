"""Matching of anchors with groundtruth boxes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from utils.detection_config import MatcherSpec

UNMATCHED = -1
IGNORED = -2


def match(similarity: tf.Tensor, valid: tf.Tensor, spec: MatcherSpec) -> tf.Tensor:
    """Matches each anchor with the groundtruth box that it overlaps most, if the overlap reaches the threshold.

    Among equal similarities the lowest index wins. If two boxes force the same anchor, the one of lower index gets it.

    Args:
        similarity: ``[N, G, A]``; A is static.
        valid: ``[N, G]`` boolean, False for padding, which matches nothing.
        spec: The thresholds.

    Returns:
        ``[N, A]`` int64, since TensorFlow computes int32 in host memory (2.21): the index of a groundtruth box,
        ``UNMATCHED`` or ``IGNORED``.
    """
    similarity = tf.where(valid[..., tf.newaxis], similarity, -tf.ones_like(similarity))
    none = tf.fill([tf.shape(similarity)[0], 1, similarity.shape[2]], -1.0)
    with_none = tf.concat([similarity, none], axis=1)  # an image may have no boxes
    best, best_value = tf.argmax(with_none, axis=1), tf.reduce_max(with_none, axis=1)
    below, between = (tf.constant(kind, tf.int64) for kind in (UNMATCHED, IGNORED))
    if not spec.negatives_lower_than_unmatched:
        below, between = between, below
    short = tf.where(best_value < spec.unmatched_threshold, below, between)
    matches = tf.where(best_value >= spec.matched_threshold, best, short)
    if not spec.force_match:
        return matches
    favourites = tf.argmax(similarity, axis=2)
    forced = tf.equal(favourites[..., tf.newaxis], np.arange(similarity.shape[2])) & valid[..., tf.newaxis]
    forced = tf.pad(forced, [(0, 0), (0, 1), (0, 0)])
    first = tf.argmax(forced, axis=1)
    return tf.where(tf.reduce_any(forced, axis=1), first, matches)


def best_overlapping(positive: tf.Tensor, overlaps: tf.Tensor) -> tf.Tensor:
    """Matches each anchor with the groundtruth box that it overlaps most of those for which it is positive.

    Args:
        positive: ``[N, G, A]`` boolean.
        overlaps: ``[N, G, A]``; A is static.

    Returns:
        ``[N, A]`` int64, the index of a groundtruth box or ``UNMATCHED``.
    """
    none = tf.fill([tf.shape(overlaps)[0], 1, overlaps.shape[2]], -1.0)
    scores = tf.concat([tf.where(positive, overlaps, -1.0), none], axis=1)  # an image may have no boxes
    return tf.where(tf.reduce_max(scores, axis=1) >= 0, tf.argmax(scores, axis=1), UNMATCHED)
