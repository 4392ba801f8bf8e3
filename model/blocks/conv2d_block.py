"""Convolution and normalization."""

from __future__ import annotations

import tensorflow as tf

from model.layers.batch_norm import affine, batch_norm, folded_batch_norm, moving_affine
from model.layers.conv2d import conv2d, conv2d_kernel, conv2d_scope, convolve
from model.layers.fake_quant import FakeQuantizer
from model.layers.group_norm import group_norm
from model.layers.options import LayerOptions
from model.layers.variable import tf1


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
    """Applies a convolution, grouped or not, and normalization without activation; variables are under ``name``.

    If the moving statistics normalize, in inference or because they are frozen, the normalization is folded into the
    kernel and a bias, which TensorFlow fuses with the next operation. Quantized kernels always fold it. Group
    normalization is never folded.
    """
    with tf1.variable_scope(name):
        if options.norm == "group":
            return group_norm(conv2d(inputs, filters, kernel_size, options, stride=stride, groups=groups), options)
        if options.quantizer is not None:
            kernel = conv2d_kernel(inputs.shape[options.channel_axis], filters, kernel_size, options, groups=groups)
            return _quantized(inputs, kernel, options, options.quantizer, stride=stride, groups=groups)
        if options.uses_batch_statistics:
            outputs = conv2d(inputs, filters, kernel_size, options, stride=stride, groups=groups)
            return batch_norm(outputs, options)
        scale, offset = moving_affine(filters, options)
        outputs = conv2d(
            inputs, filters, kernel_size, options, stride=stride, groups=groups, transform=lambda kernel: kernel * scale
        )
        return tf.nn.bias_add(outputs, tf.cast(offset, outputs.dtype), data_format=options.data_format)


def _quantized(
    inputs: tf.Tensor, kernel: tf.Variable, options: LayerOptions, quantizer: FakeQuantizer, *, stride: int, groups: int
) -> tf.Tensor:
    """Convolves with the quantized kernel, the normalization folded in; the output is float32.

    In training the batch's statistics come from the unquantized kernel, which takes a second convolution.
    """
    if options.uses_batch_statistics:
        norm = folded_batch_norm(convolve(inputs, kernel, options, stride=stride, groups=groups), options)
        kernel_scale, scale, offset = norm
    else:
        kernel_scale, offset = moving_affine(kernel.shape[3], options)
        scale = None
    with conv2d_scope(groups, options):
        folded = quantizer.weights(kernel * kernel_scale, options.branch)
    outputs = tf.cast(convolve(inputs, folded, options, stride=stride, groups=groups), tf.float32)
    if scale is None:
        return tf.nn.bias_add(outputs, offset, data_format=options.data_format)
    return affine(outputs, scale, offset, options)


def quantized_output(
    outputs: tf.Tensor, options: LayerOptions, *, name: str, groups: int = 1, kind: str = "act_quant", positive: bool
) -> tf.Tensor:
    """Quantizes the output of a block if activations are quantized; the range lives in the scope of the block's kernel.

    Args:
        outputs: The block's output, or its activation.
        options: Shared options.
        name: Scope of the block.
        groups: Groups of the block's convolution.
        kind: Scope of the range.
        positive: Whether all values are 0 or more.
    """
    if options.quantizer is None:
        return outputs
    with tf1.variable_scope(name), conv2d_scope(groups, options):
        return options.quantizer.activation(outputs, _branch(kind, options), positive=positive)


def _branch(kind: str, options: LayerOptions) -> str:
    return f"{kind}/{options.branch}" if options.branch else kind
