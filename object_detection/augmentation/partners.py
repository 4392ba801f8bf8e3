"""The other images of a batch that an image is put together with."""

from __future__ import annotations

import tensorflow as tf


def partners(index: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """The rows of the batch that each example draws, ``[N, P]`` int32, never its own unless it is alone.

    They are drawn by their place among the indices of the batch, so the order of its rows does not matter.

    Args:
        index: ``[N]`` int64, the number of each example in its split.
        draws: ``[N, P]`` in [0, 1).
    """
    order = tf.argsort(index)
    rank, count = tf.argsort(order), tf.size(order)
    others = tf.cast(tf.maximum(count - 1, 1), tf.float32)
    steps = 1 + tf.cast(tf.floor(draws * others), tf.int32)
    return tf.gather(order, (rank[:, tf.newaxis] + steps) % count)
