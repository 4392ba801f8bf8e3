"""Group normalization: each image by its own statistics, whatever the batch; nothing to fold or to keep.

Source: Wu and He, Group Normalization, arXiv:1803.08494.
"""

from __future__ import annotations

import tensorflow as tf

from model.layers.options import LayerOptions
from model.layers.variable import tf1, variable

MOST_GROUPS = 32
EPSILON = 1e-5


def group_norm(inputs: tf.Tensor, options: LayerOptions) -> tf.Tensor:
    """Normalizes groups of channels to mean 0 and variance 1, then each channel to deviation gamma and mean beta.

    The channels form the largest number of equal groups that is at most ``MOST_GROUPS``. Statistics are float32 for
    every input type. Several uses of a kernel share the variables.
    """
    channels = inputs.shape[options.channel_axis]
    with tf1.variable_scope("GroupNorm"):
        gamma = variable("gamma", (channels,), tf1.ones_initializer())
        beta = variable("beta", (channels,), tf1.zeros_initializer())
    values = tf.cast(inputs, tf.float32)
    centered = values - _wide(_group_means(values, options), options)
    variance = _group_means(tf.square(centered), options)
    scale = gamma * tf.math.rsqrt(variance + EPSILON)
    return tf.cast(centered * _wide(scale, options) + _wide(beta[tf.newaxis], options), inputs.dtype)


def groups_of(channels: int) -> int:
    """Returns the number of groups."""
    return max(count for count in range(1, MOST_GROUPS + 1) if channels % count == 0)


def _group_means(values: tf.Tensor, options: LayerOptions) -> tf.Tensor:
    """Returns the mean of each channel's group over an image, [N, C]."""
    channels = values.shape[options.channel_axis]
    count = groups_of(channels)
    means = tf.reshape(tf.reduce_mean(values, options.spatial_axes), [-1, count, channels // count])
    repeated = tf.tile(tf.reduce_mean(means, axis=2, keepdims=True), [1, 1, channels // count])
    return tf.reshape(repeated, [-1, channels])


def _wide(values: tf.Tensor, options: LayerOptions) -> tf.Tensor:
    """Returns [N, C] or [1, C] in the layout of maps."""
    for axis in options.spatial_axes:
        values = tf.expand_dims(values, axis)
    return values
