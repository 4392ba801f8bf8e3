"""Maps of the objects in an image as the network sees it: each pixel has its object's row plus 1, or 0 without one.

A map comes from the masks in a record, PNG files of the size of the whole image under ``image/object/mask``.
"""

from __future__ import annotations

import tensorflow as tf

from object_detection.boxes import box_ops
from object_detection.records.object_records import MASK_KEY
from utils.image_processing import View
from utils.input.record_parsing import parse_features
from utils.records.record_rules import FeatureSpec

MAP_TARGET = "instance_map"
MAP_SPEC = tf.TensorSpec([None, None], tf.int32)


def parse_masks(serialized: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The masks of a record's objects, ``[G]`` bytes; all are empty if the record does not have ``count`` masks."""
    masks = parse_features(serialized, {MASK_KEY: FeatureSpec(bytes)})[MASK_KEY]
    return tf.cond(tf.equal(tf.size(masks), count), lambda: masks, lambda: tf.fill([count], ""))


def instance_map(masks: tf.Tensor, boxes: tf.Tensor, view: View, sides: tuple[int, int]) -> tf.Tensor:
    """The map ``[H, W]`` int32 of the pixels that a view shows; the nearest pixel of a mask counts.

    Args:
        masks: ``[G]`` bytes; empty for an object without a mask, which is in no pixel.
        boxes: ``[G, 4]``; the smallest objects lie uppermost.
        view: The view of the image.
        sides: Height and width of the network's input in pixels.
    """
    (rows, row_seen), (columns, column_seen) = (_sources(view, axis, side) for axis, side in enumerate(sides))
    seen = row_seen[:, tf.newaxis] & column_seen

    def with_object(drawn: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_png(masks[number], channels=1)[:, :, 0]
        part = tf.gather(tf.gather(pixels, rows), columns, axis=1)
        return tf.where((part > 0) & seen, number + 1, drawn)

    order = tf.argsort(box_ops.area(boxes), direction="DESCENDING", stable=True)
    order = tf.boolean_mask(order, tf.strings.length(tf.gather(masks, order)) > 0)
    return tf.ensure_shape(tf.foldl(with_object, order, tf.zeros(sides, tf.int32)), sides)


def _sources(view: View, axis: int, side: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The row of the image that each row of the network's input shows, and whether it shows any; columns alike."""
    places = tf.range(side) + view.corner[axis]
    resized, extent = view.resized[axis], view.window[2 + axis]
    step = tf.cast(extent, tf.float32) / tf.cast(resized, tf.float32)
    source = tf.cast(tf.floor(tf.cast(places, tf.float32) * step + 0.5), tf.int32)
    source = tf.clip_by_value(source, 0, extent - 1)
    if axis == 1:
        source = tf.where(view.mirrored, extent - 1 - source, source)
    return view.window[axis] + source, (places >= 0) & (places < resized)
