"""Convolution without bias, plain or in groups, and the probe that picks the grouped kernel."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from model.layers.options import LayerOptions, tf1, variable, variance_scaling

# Up to so many output pixels in a batch, a 1x1 convolution in training is a matrix product: oneDNN brings the filters
# into its own order in each step, which takes longer than the arithmetic (TensorFlow 2.21).
FEW_PIXELS = 1024


def conv2d(
    inputs: tf.Tensor,
    filters: int,
    kernel_size: int,
    options: LayerOptions,
    *,
    stride: int = 1,
    groups: int = 1,
    scale: tf.Tensor | None = None,
) -> tf.Tensor:
    """Convolves with TensorFlow's SAME padding, which for stride 2 pads the bottom and right more.

    The variable is ``conv2d/kernel`` in the current scope, [kernel_size, kernel_size, C, filters]. In groups, each of a
    slice of the channels with filters of its own, it is ``<current scope>group_filter``, written without a slash, with
    C / groups in place of C: the names that published checkpoints have. Grouped kernels are initialized like all
    others, by ``options.weight_init`` with the fan of one group, where the original used Glorot's uniform whatever was
    asked for.

    Args:
        inputs: [N, H, W, C] or [N, C, H, W].
        filters: Output channels.
        kernel_size: Height and width of the kernel.
        options: Shared options.
        stride: Spatial stride.
        groups: Number of groups.
        scale: [filters], multiplied into the kernel, or None.

    Returns:
        The feature map, in the layout and type of ``options``.

    Raises:
        ValueError: ``groups`` does not divide the input or output channels.
    """
    channels = inputs.shape[options.channel_axis]
    if channels % groups or filters % groups:
        raise ValueError(f"{groups} groups do not divide {channels} input and {filters} output channels")
    kernel = _kernel((kernel_size, kernel_size, channels // groups, filters), groups, options)
    if scale is not None:
        kernel = kernel * scale
    inputs, kernel = tf.cast(inputs, options.compute_dtype), tf.cast(kernel, options.compute_dtype)
    if groups == 1 or options.grouped_convolution == "native":
        return _convolve(inputs, kernel, stride, options)
    slices = zip(tf.split(inputs, groups, axis=options.channel_axis), tf.split(kernel, groups, axis=3), strict=True)
    return tf.concat([_convolve(x, k, stride, options) for x, k in slices], axis=options.channel_axis)


def _kernel(shape: tuple[int, int, int, int], groups: int, options: LayerOptions) -> tf.Variable:
    if groups == 1:
        with tf1.variable_scope("conv2d"):
            return variable("kernel", shape, variance_scaling(options, "kernel", scale=2.0, mode=options.weight_init))
    name = f"{tf1.get_variable_scope().name.rpartition('/')[2]}group_filter"
    # The initializer takes the filters of all groups for the fan-out of one.
    gain = 2.0 * groups if options.weight_init == "fan_out" else 2.0
    return variable(name, shape, variance_scaling(options, name, scale=gain, mode=options.weight_init))


def _convolve(inputs: tf.Tensor, kernel: tf.Tensor, stride: int, options: LayerOptions) -> tf.Tensor:
    if kernel.shape[0] == 1 and options.data_format == "NHWC" and options.training:
        pixels = inputs[:, ::stride, ::stride, :] if stride > 1 else inputs
        count = pixels.shape[:3].num_elements()
        if count is not None and count <= FEW_PIXELS:
            product = tf.matmul(tf.reshape(pixels, [-1, kernel.shape[2]]), tf.reshape(kernel, kernel.shape[2:]))
            return tf.reshape(product, [*pixels.shape[:3], kernel.shape[3]])
        if options.compute_dtype == tf.bfloat16:
            return _pointwise(inputs, kernel, options.strides(stride))
    return tf.nn.conv2d(inputs, kernel, options.strides(stride), padding="SAME", data_format=options.data_format)


def _pointwise(inputs: tf.Tensor, kernel: tf.Tensor, strides: list[int]) -> tf.Tensor:
    """A 1x1 convolution in NHWC whose filter gradient is one matrix product.

    In bfloat16 on CPUs that is 1.5 to 6 times as fast as the convolution's own filter gradient; see the README's
    results (TensorFlow 2.21, oneDNN).
    """

    @tf.custom_gradient
    def convolve(x: tf.Tensor, k: tf.Tensor) -> Any:
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dx = tf1.nn.conv2d_backprop_input(tf.shape(x), k, dy, strides=strides, padding="SAME")
            seen = tf.reshape(x[:, :: strides[1], :: strides[2], :], [-1, k.shape[2]])
            dk = tf.matmul(seen, tf.reshape(dy, [-1, k.shape[3]]), transpose_a=True)
            return dx, tf.reshape(dk, k.shape)

        return tf.nn.conv2d(x, k, strides, padding="SAME"), gradient

    return convolve(inputs, kernel)


def probe_grouped_convolution(data_format: str, compute_dtype: tf.DType, config: tf1.ConfigProto) -> str:
    """Tries a grouped convolution forward and backward, and says how the networks shall build theirs here.

    Returns:
        "native" where the device runs it, else "split".
    """
    options = LayerOptions(data_format=data_format, compute_dtype=compute_dtype, training=True)
    with tf.Graph().as_default(), tf1.Session(config=config) as session:
        shape = (2, 8, 8, 64) if data_format == "NHWC" else (2, 64, 8, 8)
        images = tf1.placeholder_with_default(tf.ones(shape), shape)
        with tf1.variable_scope("probe"):
            features = conv2d(images, 64, 3, options, groups=32)
        gradients = tf.gradients(tf.cast(features, tf.float32), [images, *tf1.trainable_variables()])
        session.run(tf1.global_variables_initializer())
        try:
            session.run(gradients)
        except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
            return "split"
    return "native"
