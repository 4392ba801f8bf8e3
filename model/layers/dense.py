"""Fully connected layer."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from model.layers.options import LayerOptions, tf1, variable


def dense(inputs: tf.Tensor, units: int, options: LayerOptions, initializer: Any, *, name: str = "dense") -> tf.Tensor:
    """Multiplies and adds a bias, in the type of ``options``.

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
