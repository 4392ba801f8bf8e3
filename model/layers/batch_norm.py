"""Fused batch normalization."""

from __future__ import annotations

import tensorflow as tf

from model.layers.options import LayerOptions, tf1, variable


def batch_norm(inputs: tf.Tensor, options: LayerOptions, *, name: str = "BatchNorm") -> tf.Tensor:
    """Normalizes each channel to mean beta and standard deviation gamma.

    In training the batch's statistics are used, and the updates of the moving ones, with the Bessel-corrected variance,
    go to the collection UPDATE_OPS. Otherwise the moving ones are used. Statistics are float32 for any input type.

    Source: Ioffe and Szegedy, Batch Normalization, arXiv:1502.03167.
    """
    shape = (inputs.shape[options.channel_axis],)
    ones, zeros = tf1.ones_initializer(), tf1.zeros_initializer()
    with tf1.variable_scope(name):
        gamma = variable("gamma", shape, ones)
        beta = variable("beta", shape, zeros)
        moving_mean = variable("moving_mean", shape, zeros, trainable=False)
        moving_variance = variable("moving_variance", shape, ones, trainable=False)
        normalized, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=gamma,
            offset=beta,
            mean=tf.zeros([0]) if options.training else moving_mean,
            variance=tf.zeros([0]) if options.training else moving_variance,
            epsilon=options.batch_norm.epsilon,
            data_format=options.data_format,
            is_training=options.training,
        )
        if options.training:
            _collect_update(moving_mean, mean, options)
            _collect_update(moving_variance, variance, options)
    return normalized


def _collect_update(moving: tf.Variable, value: tf.Tensor, options: LayerOptions) -> None:
    step = (moving - value) * (1.0 - options.batch_norm.decay)
    tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, tf1.assign_sub(moving, step, use_locking=True))
