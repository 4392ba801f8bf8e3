"""The basic block of ResNet-18 and ResNet-34."""

from __future__ import annotations

import tensorflow as tf

from model.blocks.conv2d_block import conv2d_block, quantized_output
from model.blocks.resnet_shortcut import add_shortcut, shortcut_of
from model.layers.activation import ACTIVATIONS
from model.layers.options import LayerOptions, of_last_norm
from model.layers.variable import tf1
from model.specs import ResNetSpec


def basic_block(
    inputs: tf.Tensor, spec: ResNetSpec, width: int, options: LayerOptions, *, stride: int, name: str
) -> tf.Tensor:
    """Adds two 3x3 convolutions, the first with the stride, to the shortcut and applies ReLU.

    The shortcut is the input itself if its shape fits, else its 1x1 convolution with batch normalization.

    Args:
        inputs: [N, H, W, C] or [N, C, H, W].
        spec: The network's table row: squeeze-and-excitation, names.
        width: Channels of both convolutions.
        options: Shared options.
        stride: Stride of the block.
        name: Scope of the block.

    Returns:
        [N, ceil(H / stride), ceil(W / stride), width], in the layout of ``options``.

    Source: He et al., Deep Residual Learning, arXiv:1512.03385, figure 5, left.
    """
    first, second = spec.names.convolutions
    with tf1.variable_scope(name):
        shortcut = shortcut_of(inputs, spec, width, options, stride=stride)
        residual = conv2d_block(inputs, width, 3, options, stride=stride, name=first)
        residual = quantized_output(ACTIVATIONS[spec.activation](residual), options, name=first, positive=True)
        residual = conv2d_block(residual, width, 3, of_last_norm(options), name=second)
        return add_shortcut(residual, shortcut, inputs, spec, options)
