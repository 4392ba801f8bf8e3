"""Evaluation of tensors in a fresh graph."""

import numpy as np
import tensorflow as tf


def evaluate(build):
    """Returns the values of the tensors that ``build`` makes."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        return session.run(build())


def floats(*rows):
    """Returns a float32 constant."""
    return tf.constant(np.array(rows), tf.float32)
