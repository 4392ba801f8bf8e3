"""The end of every residual block: its shortcut, squeeze-and-excitation and the sum of the two branches."""

from __future__ import annotations

import tensorflow as tf

from model.blocks.conv2d_block import conv2d_block, quantized_output
from model.layers.options import LayerOptions
from model.layers.squeeze_excitation import squeeze_excitation
from model.layers.variable import tf1
from model.specs import ResNetSpec


def shortcut_of(inputs: tf.Tensor, spec: ResNetSpec, channels: int, options: LayerOptions, *, stride: int) -> tf.Tensor:
    """Returns the block's inputs if they have the shape of its output, else their normalized 1x1 convolution."""
    if stride == 1 and inputs.shape[options.channel_axis] == channels:
        return inputs
    name = spec.names.shortcut
    shortcut = conv2d_block(inputs, channels, 1, options, stride=stride, name=name)
    return quantized_output(shortcut, options, name=name, kind="conv_quant", positive=False)


def add_shortcut(
    residual: tf.Tensor, shortcut: tf.Tensor, inputs: tf.Tensor, spec: ResNetSpec, options: LayerOptions
) -> tf.Tensor:
    """Applies squeeze-and-excitation to the residual if the network has it, adds the shortcut and applies ReLU.

    In training with stochastic depth, each image's residual is first multiplied by its factor.

    Args:
        residual: Output of the block's last convolution, normalized, not yet quantized.
        shortcut: Result of ``shortcut_of``, of the same shape.
        inputs: Inputs of the block.
        spec: The network's table row: squeeze-and-excitation, names.
        options: Shared options.
    """
    projected, last = shortcut is not inputs, spec.names.convolutions[-1]
    kind = "act_quant" if projected or spec.se_ratio else "conv_quant"
    residual = quantized_output(residual, options, name=last, kind=kind, positive=False)
    if spec.se_ratio:
        residual = squeeze_excitation(residual, spec.se_ratio, options, name=spec.names.squeeze)
    if options.branch_factors is not None:
        residual *= tf.reshape(tf.cast(options.branch_factors, residual.dtype), [-1, 1, 1, 1])
    outputs = tf.nn.relu(shortcut + residual)
    if options.quantizer is None:
        return outputs
    if spec.se_ratio and not projected:  # published checkpoints store no separate range for this sum
        return options.quantizer.joined(outputs, inputs)
    with tf1.variable_scope(spec.names.shortcut if projected else last):
        return options.quantizer.activation(outputs, positive=True)
