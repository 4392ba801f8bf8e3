"""Suppression that lowers the scores of overlapping candidates instead of dropping them.

Shape symbols: N batch, k candidates, best first.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

SIGMA = 0.5  # of the Gaussian kernel of the paper on matrix suppression


def decay_in_turn(scores: tf.Tensor, overlaps: tf.Tensor, most: int, sigma: float) -> tf.Tensor:
    """Picks the best candidate again and again, and lowers the scores of those that it overlaps.

    Args:
        scores: ``[N, k]`` in [0, 1].
        overlaps: ``[N, k, k]``, symmetric; 0 between candidates that do not affect each other.
        most: Number of candidates to pick.
        sigma: A score is multiplied by ``exp(-overlap^2 / sigma)``.

    Returns:
        ``[N, k]``, the scores when picked; 0 for the others.

    Source: Bodla et al., Soft-NMS, equation 3, arXiv:1704.04503.
    """
    left = tf.exp(-tf.square(overlaps) / sigma)
    places = np.arange(scores.shape[1])

    def pick(turn: tf.Tensor, now: tf.Tensor, picked: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        best = tf.argmax(now, axis=1)
        chosen = tf.equal(best[:, tf.newaxis], places)
        picked = tf.where(chosen, tf.maximum(now, 0.0), picked)
        return turn + 1, tf.where(chosen, -1.0, now * tf.gather(left, best, batch_dims=1)), picked

    turns = min(most, scores.shape[1])
    start = (tf.constant(0), scores, tf.zeros_like(scores))
    return tf.while_loop(lambda turn, *_: turn < turns, pick, start)[2]


def decay_at_once(scores: tf.Tensor, overlaps: tf.Tensor) -> tf.Tensor:
    """Lowers each score by the better candidate that matters most, unless that one has been lowered itself.

    Args:
        scores: ``[N, k]`` in [0, 1].
        overlaps: ``[N, k, k]``, symmetric; 0 between candidates that do not affect each other.

    Returns:
        ``[N, k]``, the lowered scores.

    Source: Wang et al., SOLOv2, section 3.3, arXiv:2003.10152.
    """
    better = np.triu(np.ones([scores.shape[1]] * 2, np.bool_), k=1)
    squares = tf.where(better, tf.square(overlaps), 0.0)
    most = tf.reduce_max(squares, axis=1)  # of each candidate with a better one
    exponents = tf.where(better, squares - most[:, :, tf.newaxis], 0.0)
    return scores * tf.exp(-tf.maximum(tf.reduce_max(exponents, axis=1), 0.0) / SIGMA)
