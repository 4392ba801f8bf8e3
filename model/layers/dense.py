"""Fully connected layer."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from model.layers.options import LayerOptions
from model.layers.variable import tf1, variable


def dense(inputs: tf.Tensor, units: int, options: LayerOptions, initializer: Any, *, name: str = "dense") -> tf.Tensor:
    """Multiplies by a kernel and adds a bias, in the type of ``options``.

    Args:
        inputs: [N, C].
        units: Output channels.
        options: Shared options.
        initializer: Initializer of ``kernel``, [C, units]; ``bias``, [units], starts at 0.
        name: Scope that owns the variables.

    Returns:
        [N, units].
    """
    with tf1.variable_scope(name):
        kernel = variable("kernel", (inputs.shape[1], units), initializer)
        bias = variable("bias", (units,), tf1.zeros_initializer())
        if options.quantizer is not None:
            kernel = options.quantizer.weights(kernel)
        outputs = tf.matmul(tf.cast(inputs, options.compute_dtype), tf.cast(kernel, options.compute_dtype))
        return tf.nn.bias_add(outputs, tf.cast(bias, options.compute_dtype))


def dense_as_convolution(
    inputs: tf.Tensor, units: int, options: LayerOptions, initializer: Any, *, name: str = "dense"
) -> tf.Tensor:
    """Computes ``dense`` as a 1x1 convolution over a single pixel, with a kernel [1, 1, C, units].

    Inference engines without a matrix product can run it. Its initial values are those of ``dense``.
    """
    channels = inputs.shape[1]
    with tf1.variable_scope(name):
        kernel = variable("kernel", (1, 1, channels, units), initializer)
        bias = variable("bias", (units,), tf1.zeros_initializer())
        if options.quantizer is not None:  # as a matrix, so that the range is that of ``dense``
            kernel = tf.reshape(options.quantizer.weights(tf.reshape(kernel, [channels, units])), kernel.shape)
        pixel = (1, 1, channels) if options.data_format == "NHWC" else (channels, 1, 1)
        pixels = tf.reshape(tf.cast(inputs, options.compute_dtype), [-1, *pixel])
        kernel = tf.cast(kernel, options.compute_dtype)
        outputs = tf.nn.conv2d(pixels, kernel, 1, padding="SAME", data_format=options.data_format)
        outputs = tf.nn.bias_add(outputs, tf.cast(bias, options.compute_dtype), data_format=options.data_format)
        return tf.reshape(outputs, [-1, units])
