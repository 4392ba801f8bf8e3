"""Convolution and batch normalization."""

from __future__ import annotations

import tensorflow as tf

from model.layers.batch_norm import batch_norm
from model.layers.conv2d import conv2d, grouped_conv2d
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

    A grouped kernel is called ``<name>group_filter``, without a slash, as published checkpoints have it.
    """
    with tf1.variable_scope(name):
        if groups == 1:
            outputs = conv2d(inputs, filters, kernel_size, options, stride=stride)
        else:
            outputs = grouped_conv2d(
                inputs, filters, kernel_size, options, groups=groups, stride=stride, name=f"{name}group_filter"
            )
        return batch_norm(outputs, options)
