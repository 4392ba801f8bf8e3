"""Bias of a convolution without batch normalization."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from model.layers.options import LayerOptions
from model.layers.variable import tf1, variable


def add_bias(
    inputs: tf.Tensor,
    channels: int,
    options: LayerOptions,
    *,
    start: float = 0.0,
    transform: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tf.Tensor:
    """Adds the variable ``biases``, [channels], to every pixel of a map.

    Args:
        inputs: [N, H, W, C] or [N, C, H, W].
        channels: Length of the variable, C unless ``transform`` changes it.
        options: Shared options.
        start: Initial value of all elements.
        transform: Computes the added values from the variable.
    """
    bias = variable("biases", (channels,), tf1.constant_initializer(start))
    added = bias if transform is None else transform(bias)
    return tf.nn.bias_add(inputs, tf.cast(added, inputs.dtype), data_format=options.data_format)
