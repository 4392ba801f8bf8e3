"""Batch normalization: fused in training, an affine function of each channel in inference.

Source: Ioffe and Szegedy, Batch Normalization, arXiv:1502.03167.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from model.layers.options import LayerOptions, tf1, variable


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
    for moving, value in ((variables.moving_mean, mean), (variables.moving_variance, variance)):
        step = (moving - value) * (1.0 - options.batch_norm.decay)
        tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, tf1.assign_sub(moving, step, use_locking=True))
    return normalized


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
