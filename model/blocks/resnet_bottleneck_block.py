"""The bottleneck block of ResNet v1 and v1.5, ResNeXt and SE-ResNeXt."""

from __future__ import annotations

import tensorflow as tf

from model.blocks.conv2d_block import conv2d_block, quantized_output
from model.blocks.resnet_shortcut import add_shortcut, shortcut_of
from model.layers.activation import ACTIVATIONS
from model.layers.options import LayerOptions, of_last_norm
from model.layers.variable import tf1
from model.specs import ResNetSpec


def bottleneck_block(
    inputs: tf.Tensor, spec: ResNetSpec, width: int, options: LayerOptions, *, stride: int, name: str
) -> tf.Tensor:
    """Adds 1x1, 3x3 and 1x1 convolutions, the first or second with the stride, to the shortcut and applies ReLU.

    The shortcut is the input itself if its shape fits, else its 1x1 convolution with batch normalization.

    Args:
        inputs: [N, H, W, C] or [N, C, H, W].
        spec: The network's table row: expansion, cardinality, squeeze-and-excitation, place of the stride, names.
        width: Channels of the 3x3 convolution.
        options: Shared options.
        stride: Stride of the block.
        name: Scope of the block.

    Returns:
        [N, ceil(H / stride), ceil(W / stride), width * expansion], in the layout of ``options``.
    """
    channels = width * spec.expansion
    activate = ACTIVATIONS[spec.activation]
    first, second, third = spec.names.convolutions
    first_stride, second_stride = (stride, 1) if spec.stride_first else (1, stride)
    groups = spec.cardinality
    with tf1.variable_scope(name):
        shortcut = shortcut_of(inputs, spec, channels, options, stride=stride)
        residual = activate(conv2d_block(inputs, width, 1, options, stride=first_stride, name=first))
        residual = quantized_output(residual, options, name=first, positive=True)
        residual = activate(conv2d_block(residual, width, 3, options, stride=second_stride, groups=groups, name=second))
        residual = quantized_output(residual, options, name=second, groups=groups, positive=True)
        residual = conv2d_block(residual, channels, 1, of_last_norm(options), name=third)
        return add_shortcut(residual, shortcut, inputs, spec, options)
