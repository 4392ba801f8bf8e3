"""Objects at random places: targets for benchmarks without data."""

from __future__ import annotations

import tensorflow as tf

from object_detection.class_table import ClassTable
from utils.image_sizes import sides_of
from utils.input.batching import InputOptions

SYNTHETIC_OBJECTS = 7  # about the average of a COCO image


def synthetic_objects(table: ClassTable, split: str, options: InputOptions) -> dict[str, tf.Tensor]:
    """Returns the targets of one batch of a split, in the form of a decoded record; the same for the same seed."""
    count, sides = options.batch_size, sides_of(options.image_size)
    seed = tf.constant([options.seed, 1], tf.int64)
    corner = tf.random.stateless_uniform([count, SYNTHETIC_OBJECTS, 2], seed, 0.0, 0.6)
    size = tf.random.stateless_uniform([count, SYNTHETIC_OBJECTS, 2], seed + 1, 0.1, 0.4)
    chosen = tf.random.stateless_uniform([count, SYNTHETIC_OBJECTS], seed + 2, 0, len(table.ids), tf.int32)
    boxes = tf.concat([corner, corner + size], axis=2)
    if split == "train":
        return {
            "groundtruth_boxes": boxes,
            "groundtruth_slots": tf.gather(tf.constant(table.slots), chosen),
            "groundtruth_weights": tf.ones_like(chosen, tf.float32),
            "groundtruth_ignored": tf.zeros_like(chosen, tf.bool),
        }
    return {
        "groundtruth_boxes": boxes,
        "groundtruth_classes": tf.gather(tf.constant(table.ids), chosen),
        "groundtruth_area": tf.reduce_prod(size * sides, axis=2),
        "groundtruth_is_crowd": tf.zeros_like(chosen, tf.bool),
        "num_groundtruth": tf.fill([count], SYNTHETIC_OBJECTS),
        "image_size": tf.tile(tf.constant([sides]), [count, 1]),
        "source_id": tf.strings.as_string(tf.range(1, count + 1)),
    }
