"""The bottleneck block of ResNet v1.5, ResNeXt and SE-ResNeXt."""

from __future__ import annotations

import tensorflow as tf

from model.blocks.conv2d_block import conv2d_block
from model.layers.options import LayerOptions, tf1
from model.layers.squeeze_excitation import squeeze_excitation
from model.specs import ResNetSpec


def bottleneck_block(
    inputs: tf.Tensor, spec: ResNetSpec, width: int, options: LayerOptions, *, stride: int, name: str
) -> tf.Tensor:
    """Adds a residual of three convolutions, 1x1, 3x3 with the stride, 1x1, to its input, then ReLU.

    The input passes unchanged where its shape fits, else through a 1x1 convolution with batch normalization.

    Args:
        inputs: [N, H, W, C] or [N, C, H, W].
        spec: The network's table row: expansion, cardinality, squeeze-and-excitation.
        width: Channels of the 3x3 convolution.
        options: Shared options.
        stride: Stride of the 3x3 convolution and of the shortcut.
        name: Scope of the block.

    Returns:
        [N, ceil(H / stride), ceil(W / stride), width * expansion], in the layout of ``options``.
    """
    channels = width * spec.expansion
    with tf1.variable_scope(name):
        shortcut = inputs
        if stride != 1 or inputs.shape[options.channel_axis] != channels:
            with tf1.variable_scope("shortcut"):
                shortcut = conv2d_block(inputs, channels, 1, options, stride=stride, name="conv2d")
        residual = tf.nn.relu(conv2d_block(inputs, width, 1, options, name="bottleneck_1"))
        residual = tf.nn.relu(
            conv2d_block(residual, width, 3, options, stride=stride, groups=spec.cardinality, name="bottleneck_2")
        )
        residual = conv2d_block(residual, channels, 1, options, name="bottleneck_3")
        if spec.se_ratio:
            residual = squeeze_excitation(residual, spec.se_ratio, options, name="bottleneck_se_layer")
        return tf.nn.relu(shortcut + residual)
