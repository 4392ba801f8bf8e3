"""Pooling layers."""

from __future__ import annotations

import tensorflow as tf

from model.layers.options import LayerOptions


def max_pool(inputs: tf.Tensor, size: int, stride: int, options: LayerOptions) -> tf.Tensor:
    """Largest value of each window, with SAME padding: none at the top and left of an even map for size 3, stride 2."""
    return tf.nn.max_pool2d(
        inputs, options.strides(size), options.strides(stride), padding="SAME", data_format=options.data_format
    )


def spatial_mean(inputs: tf.Tensor, options: LayerOptions) -> tf.Tensor:
    """Mean over height and width: [N, C] of a map in either layout."""
    return tf.reduce_mean(inputs, axis=options.spatial_axes)
