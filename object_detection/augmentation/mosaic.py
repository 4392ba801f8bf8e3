"""Mosaics within a batch: an image shows parts of three others around a random point, and their objects.

The point divides the image into quarters. Each shows the part of an image that lies next to the opposite corner, at its
own size: the upper left quarter shows the lower right of its image, and so on; the lower right quarter shows the upper
left of the example itself. So pixels are only moved, and boxes are moved and cut.

Source: Bochkovskiy et al., YOLOv4, arXiv:2004.10934, section 3.3. Differs from the paper: images keep their size, and
come from the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from object_detection.augmentation.partners import partners
from object_detection.boxes import box_ops
from object_detection.groundtruth import Groundtruth

DRAWS = 6
"""Random numbers of an example: one decides, two place the point, three choose the others."""
NEAREST, FARTHEST = 0.25, 0.75
_QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))


class Mosaics(NamedTuple):
    """The composition of each image of a batch.

    Attributes:
        sources: ``[N, 4]`` int64, the rows of the batch seen upper left, upper right, lower left and lower right.
        centers: ``[N, 2]`` int64, row and column of the point in pixels; 0, 0 where the image stays as it is.
    """

    sources: tf.Tensor
    centers: tf.Tensor


def choose(
    draws: tf.Tensor, index: tf.Tensor, mask: tf.Tensor, probability: tf.Tensor | float, shape: tuple[int, int]
) -> Mosaics:
    """Composes mosaics from random numbers of each example.

    Args:
        draws: ``[N, DRAWS]`` in [0, 1).
        index: ``[N]`` int64, the number of each example in its split.
        mask: ``[N]``, 1 for examples that count; an image with another beside it stays as it is.
        probability: Scalar, the share of mosaics.
        shape: Height and width of the images in pixels.
    """
    own = tf.range(tf.size(index))[:, tf.newaxis]
    sources = tf.concat([partners(index, draws[:, 3:]), own], axis=1)
    mixes = (draws[:, :1] < probability) & tf.reduce_all(tf.gather(mask, sources) > 0, axis=1, keepdims=True)
    centers = tf.floor(tf.constant(shape, tf.float32) * (NEAREST + (FARTHEST - NEAREST) * draws[:, 1:3]))
    sources, centers = tf.where(mixes, sources, own), tf.where(mixes, centers, 0.0)
    return Mosaics(tf.cast(sources, tf.int64), tf.cast(centers, tf.int64))


def mosaic_images(images: tf.Tensor, mosaics: Mosaics) -> tf.Tensor:
    """The composed images, ``[N, H, W, C]`` as given."""
    height, width, channels = images.shape[1:]
    (from_row, above), (from_column, left) = (
        _moved(side, mosaics.centers[:, axis]) for axis, side in enumerate((height, width))
    )
    above, left = above[:, :, tf.newaxis], left[:, tf.newaxis]
    upper_left, upper_right, lower_left, lower_right = tf.unstack(mosaics.sources[:, :, tf.newaxis, tf.newaxis], axis=1)
    source = tf.where(above, tf.where(left, upper_left, upper_right), tf.where(left, lower_left, lower_right))
    place = (source * height + from_row[:, :, tf.newaxis]) * width + from_column[:, tf.newaxis]
    return tf.gather(tf.reshape(images, [-1, channels]), place)


def _moved(side: int, center: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The row of its image that each row shows, ``[N, side]``, and whether it lies above the center; columns alike."""
    places = tf.range(side, dtype=tf.int64) - center[:, tf.newaxis]
    before = places < 0
    return tf.where(before, places + side, places), before


def mosaic_objects(
    groundtruth: Groundtruth, mosaics: Mosaics, shape: tuple[int, int], min_visible: float
) -> Groundtruth:
    """The objects of the composed images, cut to their quarters, ``[N, 4 G]``; those that are not there are zeros.

    Args:
        groundtruth: The objects of the images.
        mosaics: The compositions.
        shape: Height and width of the images in pixels.
        min_visible: Smallest share of a box's area that stays, or the object is dropped.
    """
    centers = tf.cast(mosaics.centers, tf.float32) / tf.constant(shape, tf.float32)
    quarters = [
        _objects_of_quarter(groundtruth, mosaics.sources[:, number], centers, quarter, min_visible)
        for number, quarter in enumerate(_QUARTERS)
    ]
    return Groundtruth(*(tf.concat(values, axis=1) for values in zip(*quarters, strict=True)))


def _objects_of_quarter(
    groundtruth: Groundtruth, rows: tf.Tensor, centers: tf.Tensor, quarter: tuple[int, int], min_visible: float
) -> Groundtruth:
    """The objects of the images in the given rows, as far as one quarter shows them."""
    boxes, labels, weights, ignored = (tf.gather(values, rows) for values in groundtruth)
    after = tf.constant(quarter, tf.float32)  # 1 on the side after the center
    shift = centers - (1.0 - after)
    moved = boxes + tf.tile(shift, [1, 2])[:, tf.newaxis]
    low, high = centers * after, centers * (1.0 - after) + after
    cut = tf.minimum(tf.maximum(moved, tf.tile(low, [1, 2])[:, tf.newaxis]), tf.tile(high, [1, 2])[:, tf.newaxis])
    visible = box_ops.area(cut)
    kept = (visible > 0) & (visible >= min_visible * box_ops.area(moved))
    return Groundtruth(
        boxes=tf.where(kept[..., tf.newaxis], cut, 0.0),
        labels=tf.where(kept, labels, 0),
        weights=tf.where(kept, weights, 0.0),
        ignored=kept & ignored,
    )
