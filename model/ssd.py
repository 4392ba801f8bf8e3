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
from model.specs import SSDSpec

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
        Endpoints: those of the backbone; "level_3" to "level_7" in the layout and type of ``options``; "class_logits"
        [N, A, K or the number of used slots] and those of ``SSDSpec.box_heads``, float32: "box_codes" [N, A, 4] or
        "box_logits" [N, A, 4 * BOX_BINS], and "centerness_logits" [N, A, 1] if there are any. Anchors are in the order
        level, row, column, anchor of the cell.

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
        options = dataclasses.replace(options, norm=spec.norm)
        levels = fpn_block(stages, spec.width, options, names)
    endpoints |= {f"level_{number}": level for number, level in enumerate(levels, 3)}
    classes = _Head(anchors_per_cell, class_slots, used_slots)
    endpoints |= _heads(levels, spec, classes, dataclasses.replace(options, kernel_init=spec.head_init))
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


def _heads(levels: Sequence[tf.Tensor], spec: SSDSpec, classes: _Head, options: LayerOptions) -> dict[str, tf.Tensor]:
    """Returns the endpoints of ``SSDSpec.box_heads``, and "class_logits"; all levels share the kernels."""
    names = spec.names
    found: dict[str, list[tf.Tensor]] = {endpoint: [] for endpoint in (*spec.box_heads, "class_logits")}
    with tf1.variable_scope(names.predictor, reuse=tf1.AUTO_REUSE):
        for number, level in enumerate(levels):
            features = _tower(level, spec, number, options, name=names.box_tower)
            for endpoint, (scope, size) in spec.box_heads.items():
                head = _Head(classes.anchors_per_cell, size)
                found[endpoint].append(_predict(features, head, 0.0, options, name=scope))
            features = _tower(level, spec, number, options, name=names.class_tower)
            found["class_logits"].append(_predict(features, classes, spec.class_bias, options, name=names.class_head))
    return {endpoint: tf.concat(parts, axis=1) for endpoint, parts in found.items()}


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
