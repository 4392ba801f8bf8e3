"""Batch normalization: fused in training, an affine function of each channel in inference, folded for quantization.

Source: Ioffe and Szegedy, Batch Normalization, arXiv:1502.03167.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from model.layers.options import LayerOptions
from model.layers.variable import tf1, update_later, variable

_Normalized = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # with each channel's mean and Bessel-corrected variance


class _Variables(NamedTuple):
    gamma: tf.Variable
    beta: tf.Variable
    moving_mean: tf.Variable
    moving_variance: tf.Variable


def batch_norm(inputs: tf.Tensor, options: LayerOptions) -> tf.Tensor:
    """Normalizes each channel to mean beta and standard deviation gamma, by the batch's statistics.

    The moving statistics follow the batch's mean and Bessel-corrected variance in every step that counts. Statistics
    are float32 for every input type.
    """
    variables = _variables(inputs.shape[options.channel_axis], options)
    normalize = _fused if options.average is None else _synchronized
    normalized, mean, variance = normalize(inputs, variables, options)
    _follow(variables, mean, variance, options)
    return normalized


def _follow(variables: _Variables, mean: tf.Tensor, variance: tf.Tensor, options: LayerOptions) -> None:
    """Has the moving statistics follow those of the batch."""
    share = 1.0 - options.batch_norm.decay
    update_later(variables.moving_mean, mean, share)
    update_later(variables.moving_variance, variance, share)


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
    """Normalizes by the joint statistics of all replicas' batches, which have one size."""
    values = tf.cast(inputs, tf.float32)
    mean, variance, corrected = _moments(values, options)
    scale = variables.gamma * tf.math.rsqrt(variance + options.batch_norm.epsilon)
    offset = variables.beta - mean * scale
    return tf.cast(affine(values, scale, offset, options), inputs.dtype), mean, corrected


def _moments(values: tf.Tensor, options: LayerOptions) -> _Normalized:
    """Returns each channel's mean, variance and Bessel-corrected variance, over all replicas if they synchronize."""
    axes = [axis for axis in range(4) if axis != options.channel_axis]
    mean, variance = tf.nn.moments(values, axes)
    replicas = 1
    if options.average is not None:
        mean, square = tf.unstack(options.average(tf.stack([mean, variance + tf.square(mean)])))
        variance = tf.maximum(square - tf.square(mean), 0.0)
        replicas = options.replicas
    own = tf.size(values) // tf.shape(values)[options.channel_axis]
    count = tf.cast(own, tf.float32) * replicas
    return mean, variance, variance * count / tf.maximum(count - 1.0, 1.0)


def affine(values: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, options: LayerOptions) -> tf.Tensor:
    """Computes ``scale * x + offset`` for each channel of a map."""
    wide = [-1 if axis == options.channel_axis else 1 for axis in range(4)]
    return values * tf.reshape(scale, wide) + tf.reshape(offset, wide)


class FoldedNorm(NamedTuple):
    """Batch normalization, partly folded into the kernel of a convolution.

    With the kernel times ``kernel_scale``, ``scale * x + offset`` normalizes the convolution's output. All are
    [channels], float32.
    """

    kernel_scale: tf.Tensor
    scale: tf.Tensor
    offset: tf.Tensor


def folded_batch_norm(inputs: tf.Tensor, options: LayerOptions) -> FoldedNorm:
    """Returns the normalization of ``batch_norm`` for these inputs, with the kernel scaled as in inference.

    The moving statistics scale the kernel, so that training quantizes the kernel that inference uses. ``scale`` and
    ``offset`` then correct the output to the batch's statistics. The updates are those of ``batch_norm``.

    Source: Krishnamoorthi, Quantizing deep convolutional networks, section 3.2.2, arXiv:1806.08342.
    """
    variables = _variables(inputs.shape[options.channel_axis], options)
    mean, variance, corrected = _moments(tf.cast(inputs, tf.float32), options)
    moving = variables.moving_variance.read_value()
    with tf.control_dependencies([moving]):  # reads the value from before the update
        _follow(variables, mean, tf.identity(corrected), options)
    deviation = tf.sqrt(moving + options.batch_norm.epsilon)
    reciprocal = tf.math.rsqrt(variance + options.batch_norm.epsilon)
    return FoldedNorm(
        kernel_scale=variables.gamma / deviation,
        scale=deviation * reciprocal,
        offset=variables.beta - mean * variables.gamma * reciprocal,
    )


def moving_affine(channels: int, options: LayerOptions) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns normalization by the moving statistics as an affine function, to be folded into the preceding layer.

    Returns:
        Scale and offset, [channels], float32: the normalized value is ``scale * x + offset``.
    """
    variables = _variables(channels, options)
    scale = variables.gamma * tf.math.rsqrt(variables.moving_variance + options.batch_norm.epsilon)
    return scale, variables.beta - variables.moving_mean * scale


def _variables(channels: int, options: LayerOptions) -> _Variables:
    ones, zeros = tf1.ones_initializer(), tf1.zeros_initializer()
    with tf1.variable_scope(options.norm_name):
        return _Variables(
            gamma=variable("gamma", (channels,), zeros if options.zero_gamma else ones),
            beta=variable("beta", (channels,), zeros),
            moving_mean=variable("moving_mean", (channels,), zeros, trainable=False),
            moving_variance=variable("moving_variance", (channels,), ones, trainable=False),
        )
