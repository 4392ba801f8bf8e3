"""Augmentation of one image and its objects, for the tests of the steps."""

import contextlib

import numpy as np
import tensorflow as tf

from object_detection.augmentation.preprocessing import Objects
from object_detection.class_table import class_table
from object_detection.input.input_pipeline import detection_decoder
from tests.object_detection.detection_records import detection_record
from tests.utils.input_records import encode, options, quick_session

BOX = (0.25, 0.125, 0.75, 0.5)
TABLE = class_table((1, 2, 3), ("cat", "dog", "bird"), (), 3, exact=False)


def objects_of(boxes, slots=None, weights=None):
    """Returns objects with numbered slots, unless slots are given."""
    count = len(boxes)
    return Objects(
        boxes=tf.reshape(tf.constant(boxes, tf.float32), [-1, 4]),
        slots=tf.constant(list(range(1, count + 1)) if slots is None else slots, tf.int32),
        weights=tf.constant([1.0] * count if weights is None else weights, tf.float32),
        ignored=tf.zeros([count], tf.bool),
    )


@contextlib.contextmanager
def augmenting(pixels, steps, boxes=(BOX,), size=16, **changes):
    """Yields a function that augments an image with at most three boxes, as training does with a given seed."""
    record = detection_record(boxes, encoded=encode(pixels), label=list(range(1, len(boxes) + 1)))
    decoder = detection_decoder(TABLE, train_crowds=False)
    with tf.Graph().as_default(), quick_session() as session:
        seed = tf.compat.v1.placeholder(tf.int64, [2])
        example = decoder.train(
            tf.constant(record), seed, options(image_size=size, augmentation=tuple(steps), **changes)
        )
        run = session.make_callable((example.image, Objects(*example.targets.values())), [seed])
        yield lambda number: run(np.array([number, 7]))
