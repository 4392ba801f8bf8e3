"""SSD320: a residual network, a feature pyramid and two heads that all of its levels share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from model.blocks.conv2d_block import conv2d_block, quantized_output
from model.blocks.fpn_block import fpn_block
from model.layers.bias import add_bias
from model.layers.conv2d import conv2d
from model.layers.options import LayerOptions, with_quantizer
from model.layers.variable import tf1
from model.resnet import resnet_features
from model.specs import CODE_SIZE, SSDSpec

IMAGE_MULTIPLE = 32
"""Sides of images are multiples of this, so that an enlarged pyramid map fits the map that it is added to."""


def ssd(
    images: tf.Tensor,
    spec: SSDSpec,
    anchors_per_cell: int,
    class_slots: int,
    options: LayerOptions,
    *,
    used_slots: tuple[int, ...] | None = None,
) -> dict[str, tf.Tensor]:
    """Predicts class logits and box codes at every anchor.

    Args:
        images: [N, H, W, 3] float32, normalized, H and W multiples of 32. Always NHWC.
        spec: The architecture.
        anchors_per_cell: Anchors per cell of a level.
        class_slots: K, logits per anchor, including the unused slot for the background if there is one.
        options: Shared options of the layers; the architecture's settings are added here.
        used_slots: The only slots whose logits are computed; all by default. The variables are the same.

    Returns:
        Endpoints: those of the backbone; "level_3" to "level_7" in the layout and type of ``options``; "box_codes"
        [N, A, 4] and "class_logits" [N, A, K or the number of used slots], float32, anchors in the order level, row,
        column, anchor of the cell.

    Raises:
        ValueError: An image side is not a multiple of 32.
    """
    height, width = images.shape[1:3]
    if height % IMAGE_MULTIPLE or width % IMAGE_MULTIPLE:
        raise ValueError(f"images of {height} x {width} pixels: sides must be multiples of {IMAGE_MULTIPLE}")
    options = dataclasses.replace(
        with_quantizer(options),
        batch_norm=spec.batch_norm,
        kernel_name=spec.names.kernel,
        kernel_init=spec.kernel_init,
    )
    names = spec.names
    with tf1.variable_scope(names.features), tf1.variable_scope(names.backbone):
        endpoints = resnet_features(images, spec.backbone, options)
        stages = [endpoints[f"stage_{stage}"] for stage in (1, 2, 3)]
        levels = fpn_block(stages, spec.width, options, names)
    endpoints |= {f"level_{number}": level for number, level in enumerate(levels, 3)}
    boxes, classes = _Head(anchors_per_cell, CODE_SIZE), _Head(anchors_per_cell, class_slots, used_slots)
    endpoints |= _heads(levels, spec, boxes, classes, dataclasses.replace(options, kernel_init=spec.head_init))
    if options.quantizer is not None:
        options.quantizer.collect_updates()
    return endpoints


class _Head(NamedTuple):
    """Outputs of a head's last convolution: ``size`` numbers per anchor of a cell, or only those of ``used``."""

    anchors_per_cell: int
    size: int
    used: tuple[int, ...] | None = None

    def of_used(self, values: tf.Tensor) -> tf.Tensor:
        """Selects the used output channels, on the last axis."""
        if self.used is None:
            return values
        by_anchor = tf.reshape(values, [*values.shape[:-1], self.anchors_per_cell, self.size])
        used = tf.gather(by_anchor, self.used, axis=-1)
        return tf.reshape(used, [*values.shape[:-1], self.anchors_per_cell * len(self.used)])


def _heads(
    levels: Sequence[tf.Tensor], spec: SSDSpec, boxes: _Head, classes: _Head, options: LayerOptions
) -> dict[str, tf.Tensor]:
    """Returns the endpoints "box_codes" and "class_logits"; all levels share the kernels."""
    names, codes, logits = spec.names, [], []
    with tf1.variable_scope(names.predictor, reuse=tf1.AUTO_REUSE):
        for number, level in enumerate(levels):
            features = _tower(level, spec, number, options, name=names.box_tower)
            codes.append(_predict(features, boxes, 0.0, options, name=names.box_head))
            features = _tower(level, spec, number, options, name=names.class_tower)
            logits.append(_predict(features, classes, spec.class_bias, options, name=names.class_head))
    return {"box_codes": tf.concat(codes, axis=1), "class_logits": tf.concat(logits, axis=1)}


def _tower(inputs: tf.Tensor, spec: SSDSpec, level: int, options: LayerOptions, *, name: str) -> tf.Tensor:
    """Applies a tower: all levels share its kernels, but each has its own batch normalization and ranges."""
    options = dataclasses.replace(options, branch=spec.names.levels[level])
    with tf1.variable_scope(name):
        outputs = inputs
        for block in spec.names.tower_layers(spec.tower_layers):
            outputs = tf.nn.relu6(conv2d_block(outputs, spec.width, 3, options, name=block))
            outputs = quantized_output(outputs, options, name=block, positive=True)
    return outputs


def _predict(inputs: tf.Tensor, head: _Head, bias: float, options: LayerOptions, *, name: str) -> tf.Tensor:
    """Predicts [N, cells * anchors_per_cell, size], float32, from a map in the layout of ``options``."""
    with tf1.variable_scope(name):
        filters = head.anchors_per_cell * head.size
        outputs = conv2d(inputs, filters, 3, options, transform=head.of_used)
        outputs = add_bias(outputs, filters, options, start=bias, transform=head.of_used)
        if options.quantizer is not None:
            outputs = options.quantizer.activation(outputs)  # one range for all levels: they are concatenated
    if options.data_format == "NCHW":
        outputs = tf.transpose(outputs, [0, 2, 3, 1])
    _, height, width, channels = outputs.shape
    anchors = height * width * head.anchors_per_cell
    return tf.cast(tf.reshape(outputs, [-1, anchors, channels // head.anchors_per_cell]), tf.float32)
