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


def slope(function, values, step=1e-6):
    """Returns central differences of a sum of independent elements, float64, and the graph's gradient of it."""

    def build():
        inputs = tf.constant(values, tf.float64)
        differences = function(inputs + step) - function(inputs - step)
        return differences / (2 * step), tf.gradients(function(inputs), inputs)[0]

    return evaluate(build)
