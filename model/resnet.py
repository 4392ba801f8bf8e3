"""ResNet, ResNeXt and SE-ResNeXt: one function, whose variants are rows of ``model.specs``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from model.blocks.conv2d_block import conv2d_block, quantized_output
from model.blocks.resnet_basic_block import basic_block
from model.blocks.resnet_bottleneck_block import bottleneck_block
from model.layers.activation import ACTIVATIONS
from model.layers.dense import dense, dense_as_convolution
from model.layers.options import LayerOptions, of_block, variance_scaling, with_quantizer
from model.layers.pooling import max_pool, spatial_mean
from model.layers.variable import tf1
from model.specs import ResNetSpec

BLOCKS = {"bottleneck": bottleneck_block, "basic": basic_block}


def resnet(
    images: tf.Tensor, spec: ResNetSpec, num_classes: int, options: LayerOptions, *, final_conv: bool = False
) -> dict[str, tf.Tensor]:
    """Classifies images; its variables live under the scope ``spec.name``.

    Args:
        images: [N, H, W, 3] float32, normalized. Always NHWC; transposed here if the network computes in NCHW.
        spec: The architecture.
        num_classes: Number of logits, K.
        options: Shared options of the layers.
        final_conv: Whether to build the classifier as a 1x1 convolution, which computes the same numbers.

    Returns:
        Endpoints: "stem", "stage_0" to "stage_3" in the layout and type of ``options``; "features" [N, C];
        "logits" and "probabilities" [N, K], float32.
    """
    options = with_quantizer(options)
    with tf1.variable_scope(spec.name):
        endpoints = resnet_features(images, spec, options)
        last = endpoints[f"stage_{len(spec.blocks) - 1}"]
        features = endpoints["features"] = spatial_mean(last, options)
        if options.quantizer is not None:
            features = options.quantizer.within(features, last)
        if options.feature_factors is not None:
            features *= tf.cast(options.feature_factors, features.dtype)
        layer = dense_as_convolution if final_conv else dense
        endpoints["logits"], endpoints["probabilities"] = _classifier(features, num_classes, options, layer)
    if options.quantizer is not None:
        options.quantizer.collect_updates()
    return endpoints


def resnet_features(images: tf.Tensor, spec: ResNetSpec, options: LayerOptions) -> dict[str, tf.Tensor]:
    """Computes the convolutional part; its variables live in the current scope.

    Args:
        images: [N, H, W, 3] float32, normalized. Always NHWC.
        spec: The architecture.
        options: Shared options of the layers, with a quantizer if the network is quantized; the architecture's settings
            are added here.

    Returns:
        Endpoints "stem" (H / 4) and "stage_0" (H / 4), "stage_1" (H / 8) ..., in the layout and type of ``options``.
    """
    options = dataclasses.replace(
        options,
        batch_norm=spec.batch_norm,
        kernel_name=spec.names.kernel,
        kernel_init=spec.kernel_init,
        symmetric_padding=spec.symmetric_padding,
        freeze_batch_norm=options.freeze_batch_norm or options.freeze_backbone,
    )
    endpoints: dict[str, tf.Tensor] = {}
    if options.quantizer is not None:
        images = options.quantizer.fixed(images, *options.input_range)
    outputs = tf.cast(images, options.compute_dtype)
    if options.data_format == "NCHW":
        outputs = tf.transpose(outputs, [0, 3, 1, 2])
    stem = conv2d_block(outputs, spec.stem_width, 7, options, stride=2, name=spec.names.stem)
    stem = quantized_output(ACTIVATIONS[spec.activation](stem), options, name=spec.names.stem, positive=True)
    outputs = endpoints["stem"] = max_pool(stem, 3, 2, options, symmetric=spec.symmetric_pooling)
    if options.quantizer is not None:
        options.quantizer.same(outputs, stem)
    for stage, (blocks, width) in enumerate(zip(spec.blocks, spec.widths, strict=True)):
        for index in range(blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            name = spec.names.block_name(stage, index)
            own = of_block(options, sum(spec.blocks[:stage]) + index)
            outputs = BLOCKS[spec.block](outputs, spec, width, own, stride=stride, name=name)
        endpoints[f"stage_{stage}"] = outputs
    return endpoints


def _classifier(
    features: tf.Tensor, num_classes: int, options: LayerOptions, layer: Callable[..., tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    with tf1.variable_scope("output"):
        logits = layer(features, num_classes, options, _head_initializer(options))
        if options.quantizer is not None:
            logits = options.quantizer.activation(logits, "dense/act_quant")
        logits = tf.cast(logits, tf.float32)
        return logits, tf.nn.softmax(logits, name="softmax")


def _head_initializer(options: LayerOptions) -> Any:
    """Returns the initializer of the classifier's kernel.

    Zeros make all classes equally probable, so the cross-entropy begins at ln K, whatever the features and the targets.
    The variance 2 / fan of other kernels suits ReLU and batch normalization behind them, not a softmax: if the fan is
    that of the outputs, 2048 features of order 1 give the logits of 10 classes a deviation of 20.
    """
    if options.head_init == "small":
        return tf1.zeros_initializer()
    with tf1.variable_scope("dense"):
        return variance_scaling(options, "kernel", scale=2.0, mode=options.weight_init)
