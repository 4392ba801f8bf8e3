"""Runs augmentation on one image and its objects, for the tests of the steps."""

import contextlib

import numpy as np
import tensorflow as tf

from object_detection.preprocessing import Objects, augment
from tests.utils.input_records import encode, quick_session

BOX = (0.25, 0.125, 0.75, 0.5)


def objects_of(boxes, slots=None, weights=None):
    """Objects of as many slots as there are boxes, unless given."""
    count = len(boxes)
    return Objects(
        boxes=tf.reshape(tf.constant(boxes, tf.float32), [-1, 4]),
        slots=tf.constant(list(range(1, count + 1)) if slots is None else slots, tf.int32),
        weights=tf.constant([1.0] * count if weights is None else weights, tf.float32),
        ignored=tf.zeros([count], tf.bool),
    )


@contextlib.contextmanager
def augmenting(pixels, steps, boxes=(BOX,), size=16):
    """Augments an image with its boxes, by seed; gives the image and the objects."""
    with tf.Graph().as_default(), quick_session() as session:
        seed = tf.compat.v1.placeholder(tf.int64, [2])
        outputs = augment(tf.constant(encode(pixels)), objects_of(boxes), seed, tuple(steps), size)
        run = session.make_callable(outputs, [seed])
        yield lambda number: run(np.array([number, 7]))
