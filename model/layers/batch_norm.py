"""Batch normalization: fused in training, an affine function of each channel in inference.

Source: Ioffe and Szegedy, Batch Normalization, arXiv:1502.03167.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from model.layers.options import LayerOptions, tf1, variable

_Normalized = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # with mean and Bessel-corrected variance of each channel


class _Variables(NamedTuple):
    gamma: tf.Variable
    beta: tf.Variable
    moving_mean: tf.Variable
    moving_variance: tf.Variable


def batch_norm(inputs: tf.Tensor, options: LayerOptions) -> tf.Tensor:
    """Normalizes each channel of a batch to mean beta and standard deviation gamma, by the batch's statistics.

    The updates of the moving statistics, with the Bessel-corrected variance, go to the collection UPDATE_OPS.
    Statistics are float32 for any type of input.
    """
    variables = _variables(inputs.shape[options.channel_axis], options.norm_name)
    normalize = _fused if options.average is None else _synchronized
    normalized, mean, variance = normalize(inputs, variables, options)
    for moving, value in ((variables.moving_mean, mean), (variables.moving_variance, variance)):
        step = (moving - value) * (1.0 - options.batch_norm.decay)
        tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, tf1.assign_sub(moving, step, use_locking=True))
    return normalized


def _fused(inputs: tf.Tensor, variables: _Variables, options: LayerOptions) -> _Normalized:
    normalized, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=variables.gamma,
        offset=variables.beta,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=options.batch_norm.epsilon,
        data_format=options.data_format,
        is_training=True,
    )
    return normalized, mean, variance


def _synchronized(inputs: tf.Tensor, variables: _Variables, options: LayerOptions) -> _Normalized:
    """By the statistics of all replicas' batches, of one size each, together."""
    axes = [axis for axis in range(4) if axis != options.channel_axis]
    wide = [-1 if axis == options.channel_axis else 1 for axis in range(4)]
    values = tf.cast(inputs, tf.float32)
    mean, variance = tf.nn.moments(values, axes)
    mean, square = tf.unstack(options.average(tf.stack([mean, variance + tf.square(mean)])))
    variance = tf.maximum(square - tf.square(mean), 0.0)
    scale = variables.gamma * tf.math.rsqrt(variance + options.batch_norm.epsilon)
    offset = variables.beta - mean * scale
    normalized = values * tf.reshape(scale, wide) + tf.reshape(offset, wide)
    own = tf.size(inputs) // tf.shape(inputs)[options.channel_axis]
    count = tf.cast(own, tf.float32) * options.replicas
    return tf.cast(normalized, inputs.dtype), mean, variance * count / tf.maximum(count - 1.0, 1.0)


def moving_affine(channels: int, options: LayerOptions) -> tuple[tf.Tensor, tf.Tensor]:
    """What normalization by the moving statistics does to each channel, to be folded into the layer before it.

    Returns:
        scale and offset, [channels], float32: the normalized value is ``scale * x + offset``.
    """
    variables = _variables(channels, options.norm_name)
    scale = variables.gamma * tf.math.rsqrt(variables.moving_variance + options.batch_norm.epsilon)
    return scale, variables.beta - variables.moving_mean * scale


def _variables(channels: int, name: str) -> _Variables:
    ones, zeros = tf1.ones_initializer(), tf1.zeros_initializer()
    with tf1.variable_scope(name):
        return _Variables(
            gamma=variable("gamma", (channels,), ones),
            beta=variable("beta", (channels,), zeros),
            moving_mean=variable("moving_mean", (channels,), zeros, trainable=False),
            moving_variance=variable("moving_variance", (channels,), ones, trainable=False),
        )
