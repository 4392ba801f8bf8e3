"""Copy-paste within a batch: some objects of another image are copied, by their masks, to the same place of this one.

What they cover of the image's own objects is taken from their boxes; an object that is covered is dropped.

Source: Ghiasi et al., Simple Copy-Paste, arXiv:2012.07177. Differs from the paper: the other image is one of the batch,
and the edges of what is pasted are not blended, which the paper finds to make no difference.
"""

from __future__ import annotations

import math

import tensorflow as tf

from object_detection.groundtruth import Groundtruth

DRAWS = 3
"""Random numbers of an example: one decides, one chooses the other image, one the objects."""
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def chosen_objects(groundtruth: Groundtruth, draw: tf.Tensor, pasted: tf.Tensor) -> tf.Tensor:
    """The objects to copy, ``[N, G]`` boolean: about half of those that are trained, spread evenly over the rows.

    Object k is copied if the fractional part of ``draw + k * golden section`` is below one half.

    Args:
        groundtruth: The objects of the other images.
        draw: ``[N]`` in [0, 1).
        pasted: ``[N]`` boolean, whether anything is copied.
    """
    numbers = tf.range(tf.shape(groundtruth.weights)[1], dtype=tf.float32)
    shares = tf.math.floormod(draw[:, tf.newaxis] + numbers * _GOLDEN, 1.0)
    return (shares < 0.5) & (groundtruth.weights > 0) & pasted[:, tf.newaxis]


def covered_pixels(maps: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """The pixels ``[N, H, W]`` boolean of chosen objects in the maps of the other images."""
    return tf.gather(tf.pad(chosen, [[0, 0], [1, 0]]), maps, batch_dims=1)


def pasted_objects(
    own: Groundtruth, other: Groundtruth, maps: tuple[tf.Tensor, tf.Tensor], chosen: tf.Tensor, min_visible: float
) -> Groundtruth:
    """The objects of the images after the paste, ``[N, 2 G]``: their own, then those of the other images.

    Args:
        own: The objects of the images.
        other: Those of the other images.
        maps: Maps of both, ``[N, H, W]``, as from ``instance_maps``.
        chosen: The objects to copy.
        min_visible: Smallest share of an own object's pixels that stays, or it is dropped.
    """
    own_map, other_map = maps
    count = tf.shape(own.weights)[1]
    covered = covered_pixels(other_map, chosen)
    before, after = (_extents(pixels, count) for pixels in (own_map, tf.where(covered, 0, own_map)))
    share = tf.cast(after[0], tf.float32) / tf.cast(tf.maximum(before[0], 1), tf.float32)
    touched = after[0] < before[0]
    kept = ~touched | ((after[0] > 0) & (share >= min_visible))
    boxes = tf.where(tf.equal(after[1], before[1]) | ~touched[..., tf.newaxis], own.boxes, after[1])
    there = chosen & (_extents(other_map, count)[0] > 0)
    return Groundtruth(
        boxes=_joined(tf.where(kept[..., tf.newaxis], boxes, 0.0), tf.where(there[..., tf.newaxis], other.boxes, 0.0)),
        labels=_joined(tf.where(kept, own.labels, 0), tf.where(there, other.labels, 0)),
        weights=_joined(tf.where(kept, own.weights, 0.0), tf.where(there, other.weights, 0.0)),
        ignored=_joined(own.ignored & kept, tf.zeros_like(there)),
    )


def _joined(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    return tf.concat([first, second], axis=1)


def _extents(maps: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The number of pixels ``[N, G]`` int32 of each object in its map, and the box around them ``[N, G, 4]``."""
    images, height, width = tf.shape(maps)[0], maps.shape[1], maps.shape[2]
    size = images * (count + 1)
    number = maps + tf.range(images)[:, tf.newaxis, tf.newaxis] * (count + 1)

    def of_objects(values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values, [images, count + 1])[:, 1:]

    places = [tf.broadcast_to(tf.reshape(tf.range(side), shape), tf.shape(maps)) for side, shape in (
        (height, [1, -1, 1]), (width, [1, 1, -1])
    )]  # fmt: skip
    low = [of_objects(tf.math.unsorted_segment_min(place, number, size)) for place in places]
    high = [of_objects(tf.math.unsorted_segment_max(place, number, size)) + 1 for place in places]
    pixels = of_objects(tf.math.unsorted_segment_sum(tf.ones_like(maps), number, size))
    box = tf.cast(tf.stack([*low, *high], axis=-1), tf.float32) / tf.constant([height, width] * 2, tf.float32)
    return pixels, box
