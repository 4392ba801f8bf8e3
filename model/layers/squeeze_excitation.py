"""Squeeze-and-excitation."""

from __future__ import annotations

import tensorflow as tf

from model.layers.dense import dense
from model.layers.options import LayerOptions, variance_scaling
from model.layers.pooling import spatial_mean
from model.layers.variable import tf1


def squeeze_excitation(inputs: tf.Tensor, ratio: int, options: LayerOptions, *, name: str) -> tf.Tensor:
    """Scales each channel by a gate in (0, 1) computed from the means of all channels.

    Args:
        inputs: [N, H, W, C] or [N, C, H, W].
        ratio: The squeeze has C / ratio channels.
        options: Shared options.
        name: Scope that owns ``dense`` and ``dense_1``.

    Source: Hu et al., arXiv:1709.01507, section 3.
    Differs from the paper: both dense layers have biases.
    """
    channels, quantizer = inputs.shape[options.channel_axis], options.quantizer
    with tf1.variable_scope(name):
        gate = spatial_mean(inputs, options)
        if quantizer is not None:
            gate = quantizer.within(gate, inputs)
        gate = tf.nn.relu(_dense(gate, channels // ratio, options, "dense"))
        if quantizer is not None:
            gate = quantizer.activation(gate, "dense/act_quant", positive=True)
        gate = _dense(gate, channels, options, "dense_1")
        if quantizer is not None:
            gate = quantizer.activation(gate, "dense_1/act_quant")
        gate = tf.nn.sigmoid(gate)
        if quantizer is not None:
            gate = quantizer.sigmoid(gate)
        shape = (-1, 1, 1, channels) if options.data_format == "NHWC" else (-1, channels, 1, 1)
        outputs = inputs * tf.reshape(gate, shape)
        return outputs if quantizer is None else quantizer.activation(outputs, "mul/activation_Mul_quant")


def _dense(inputs: tf.Tensor, units: int, options: LayerOptions, name: str) -> tf.Tensor:
    with tf1.variable_scope(name):
        initializer = variance_scaling(options, "kernel", scale=1.0, mode="fan_in")
    return dense(inputs, units, options, initializer, name=name)
