"""The feature pyramid on top of a residual network."""

from __future__ import annotations

import tensorflow as tf

from model.blocks.conv2d_block import conv2d_block, quantized_output
from model.layers.bias import add_bias
from model.layers.conv2d import conv2d
from model.layers.options import LayerOptions
from model.layers.variable import tf1
from model.specs import SSDNames


def fpn_block(stages: list[tf.Tensor], width: int, options: LayerOptions, names: SSDNames) -> list[tf.Tensor]:
    """Projects three maps to one width, adds each to the enlarged one above it, and puts two smaller maps on top.

    The third level is its projection, without normalization or activation; the fourth is computed from the third, the
    fifth from the fourth. All levels but the third end in batch normalization and ReLU6.

    Args:
        stages: Maps of H / 8, H / 16 and H / 32 pixels, in the layout of ``options``.
        width: Channels of every level.
        options: Shared options.
        names: Scopes that own the variables.

    Returns:
        Five maps of ``width`` channels: H / 8, H / 16, H / 32, H / 64 and H / 128 pixels, rounded up.

    Source: Lin et al., Feature Pyramid Networks, arXiv:1612.03144.
    """
    with tf1.variable_scope(names.pyramid):
        merged: list[tf.Tensor] = []
        for stage, name in reversed(list(zip(stages, names.projections, strict=True))):
            projected = _project(stage, width, options, name)
            merged.insert(0, projected if not merged else _sum(projected, merged[0], options, name))
        smoothed = zip(merged[:-1], names.smoothings, strict=True)
        levels = [_smooth(level, width, options, name=name) for level, name in smoothed]
        levels.append(merged[-1])
        for name in names.bottom_up:
            levels.append(_smooth(levels[-1], width, options, stride=2, name=name))
    return levels


def _smooth(inputs: tf.Tensor, width: int, options: LayerOptions, *, name: str, stride: int = 1) -> tf.Tensor:
    outputs = tf.nn.relu6(conv2d_block(inputs, width, 3, options, stride=stride, name=name))
    return quantized_output(outputs, options, name=name, positive=True)


def _project(inputs: tf.Tensor, width: int, options: LayerOptions, name: str) -> tf.Tensor:
    with tf1.variable_scope(name):
        outputs = add_bias(conv2d(inputs, width, 1, options), width, options)
    return quantized_output(outputs, options, name=name, positive=False)


def _sum(projected: tf.Tensor, above: tf.Tensor, options: LayerOptions, name: str) -> tf.Tensor:
    outputs = _twice_as_large(above, options) + projected
    return quantized_output(outputs, options, name=name, kind="add_quant", positive=False)


def _twice_as_large(inputs: tf.Tensor, options: LayerOptions) -> tf.Tensor:
    """Repeats each pixel as a 2x2 square."""
    for axis in options.spatial_axes:
        shape = tf.shape(inputs)
        doubled = tf.stack([inputs, inputs], axis=axis + 1)
        known = inputs.shape.as_list()
        known[axis] = None if known[axis] is None else 2 * known[axis]
        inputs = tf.reshape(doubled, tf.concat([shape[:axis], [2 * shape[axis]], shape[axis + 1 :]], axis=0))
        inputs = tf.ensure_shape(inputs, known)
    return inputs
