"""Pooling layers."""

from __future__ import annotations

import tensorflow as tf

from model.layers.options import LayerOptions


def max_pool(inputs: tf.Tensor, size: int, stride: int, options: LayerOptions, *, symmetric: bool = False) -> tf.Tensor:
    """Takes the largest value of each window of a map without negative values, such as the output of ReLU.

    The padding is SAME, which for size 3 and stride 2 pads an even map only at the bottom and right, or ``symmetric``,
    alike on all sides. It pads with 0: no value is lower, and unlike minus infinity 0 can be quantized.
    """
    padding = "SAME"
    if symmetric:
        sides = [(size - 1) // 2] * 2
        spatial = [sides, sides]
        inputs = tf.pad(inputs, [[0, 0], *spatial, [0, 0]] if options.data_format == "NHWC" else [[0, 0]] * 2 + spatial)
        padding = "VALID"
    return tf.nn.max_pool2d(
        inputs, options.strides(size), options.strides(stride), padding=padding, data_format=options.data_format
    )


def spatial_mean(inputs: tf.Tensor, options: LayerOptions) -> tf.Tensor:
    """Averages a map in either layout over height and width; returns [N, C]."""
    return tf.reduce_mean(inputs, axis=options.spatial_axes)
