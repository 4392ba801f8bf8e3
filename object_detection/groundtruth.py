"""The objects of a batch of images, in rows that are padded to the same number."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

ROWS = 16  # groundtruth is padded to a multiple of this


class Groundtruth(NamedTuple):
    """The objects of a batch of images, padded to G rows each.

    Attributes:
        boxes: ``[N, G, 4]``; zeros for padding.
        labels: ``[N, G]`` int32, the class slot to train; -1 trains none.
        weights: ``[N, G]`` float32; 0 for padding and for objects that are not trained.
        ignored: ``[N, G]`` boolean: regions of weight 0 whose unmatched anchors are not trained as background.
    """

    boxes: tf.Tensor
    labels: tf.Tensor
    weights: tf.Tensor
    ignored: tf.Tensor


def in_few_rows(groundtruth: Groundtruth) -> Groundtruth:
    """Removes rows that are padding in every image, since the cost of matching grows with the rows.

    The number of rows becomes a multiple of ``ROWS``, so that XLA, which compiles for every shape anew, meets few. All
    of this runs on the CPU, where batches are read: a GPU would have to tell the host how many rows there are.
    """
    with tf.device("/CPU:0"):
        rows = tf.range(1, tf.shape(groundtruth.weights)[1] + 1)
        used = tf.reduce_max(tf.where((groundtruth.weights > 0) | groundtruth.ignored, rows, 0))
        count = ROWS * tf.maximum((used + ROWS - 1) // ROWS, 1)
        more = [(0, 0), (0, ROWS)]
        padded = (tf.pad(tensor, [*more, *[(0, 0)] * (tensor.shape.rank - 2)]) for tensor in groundtruth)
        return Groundtruth(*(tensor[:, :count] for tensor in padded))


def joined_in_few_rows(groundtruth: Groundtruth) -> Groundtruth:
    """``in_few_rows`` of objects that have rows of padding between them; the others keep their order."""
    there = tf.cast((groundtruth.weights > 0) | groundtruth.ignored, tf.int32)
    order = tf.math.top_k(there, tf.shape(there)[1]).indices
    return in_few_rows(Groundtruth(*(tf.gather(values, order, batch_dims=1) for values in groundtruth)))
