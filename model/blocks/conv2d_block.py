"""Convolution and batch normalization."""

from __future__ import annotations

import tensorflow as tf

from model.layers.batch_norm import batch_norm, moving_affine
from model.layers.conv2d import conv2d
from model.layers.options import LayerOptions, tf1


def conv2d_block(
    inputs: tf.Tensor,
    filters: int,
    kernel_size: int,
    options: LayerOptions,
    *,
    name: str,
    stride: int = 1,
    groups: int = 1,
) -> tf.Tensor:
    """Convolves, in groups where asked to, and normalizes; all variables live under ``name``, no activation follows.

    Where the moving statistics normalize, in inference or because they are frozen, the normalization is folded into the
    kernel and a bias, which TensorFlow fuses with what follows.
    """
    with tf1.variable_scope(name):
        if options.uses_batch_statistics:
            outputs = conv2d(inputs, filters, kernel_size, options, stride=stride, groups=groups)
            return batch_norm(outputs, options)
        scale, offset = moving_affine(filters, options)
        outputs = conv2d(
            inputs, filters, kernel_size, options, stride=stride, groups=groups, transform=lambda kernel: kernel * scale
        )
        return tf.nn.bias_add(outputs, tf.cast(offset, outputs.dtype), data_format=options.data_format)
