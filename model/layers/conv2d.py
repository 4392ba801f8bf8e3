"""Convolution without bias, plain or in groups, and the probe that picks the grouped kernel."""

from __future__ import annotations

import tensorflow as tf

from model.layers.options import LayerOptions, tf1, variable, variance_scaling


def conv2d(
    inputs: tf.Tensor, filters: int, kernel_size: int, options: LayerOptions, *, stride: int = 1, name: str = "conv2d"
) -> tf.Tensor:
    """Convolves with TensorFlow's SAME padding, which for stride 2 pads the bottom and right more.

    Args:
        inputs: [N, H, W, C] or [N, C, H, W].
        filters: Output channels.
        kernel_size: Height and width of the kernel.
        options: Shared options.
        stride: Spatial stride.
        name: Scope that owns the variable ``kernel``, [kernel_size, kernel_size, C, filters].

    Returns:
        The feature map, in the layout and type of ``options``.
    """
    channels = inputs.shape[options.channel_axis]
    with tf1.variable_scope(name):
        shape = (kernel_size, kernel_size, channels, filters)
        initializer = variance_scaling(options, "kernel", scale=2.0, mode=options.weight_init)
        kernel = variable("kernel", shape, initializer)
        return _convolve(inputs, kernel, stride, options)


def grouped_conv2d(
    inputs: tf.Tensor, filters: int, kernel_size: int, options: LayerOptions, *, groups: int, stride: int, name: str
) -> tf.Tensor:
    """Convolves each of ``groups`` slices of the channels with filters of its own.

    The variable is ``name`` in the current scope, [kernel_size, kernel_size, C / groups, filters], as in published
    checkpoints. It is initialized like every other kernel, by ``options.weight_init`` with the fan of one group, where
    the original used Glorot's uniform whatever was asked for.

    Raises:
        ValueError: ``groups`` does not divide the input or output channels.
    """
    channels = inputs.shape[options.channel_axis]
    if channels % groups or filters % groups:
        raise ValueError(f"{groups} groups do not divide {channels} input and {filters} output channels")
    initializer = variance_scaling(options, name, scale=2.0 * _group_gain(options, groups), mode=options.weight_init)
    kernel = variable(name, (kernel_size, kernel_size, channels // groups, filters), initializer)
    if options.grouped_convolution == "native":
        return _convolve(inputs, kernel, stride, options)
    slices = tf.split(inputs, groups, axis=options.channel_axis)
    kernels = tf.split(kernel, groups, axis=3)
    outputs = [_convolve(x, k, stride, options) for x, k in zip(slices, kernels, strict=True)]
    return tf.concat(outputs, axis=options.channel_axis)


def _group_gain(options: LayerOptions, groups: int) -> float:
    """What the initializer's fan must be divided by: it takes all filters for one group's fan-out."""
    return float(groups) if options.weight_init == "fan_out" else 1.0


def _convolve(inputs: tf.Tensor, kernel: tf.Tensor, stride: int, options: LayerOptions) -> tf.Tensor:
    return tf.nn.conv2d(
        tf.cast(inputs, options.compute_dtype),
        tf.cast(kernel, options.compute_dtype),
        strides=options.strides(stride),
        padding="SAME",
        data_format=options.data_format,
    )


def probe_grouped_convolution(data_format: str, compute_dtype: tf.DType, config: tf1.ConfigProto) -> str:
    """Tries a grouped convolution forward and backward, and says how the networks shall build theirs here.

    Returns:
        "native" where the device runs it, else "split".
    """
    options = LayerOptions(data_format=data_format, compute_dtype=compute_dtype, training=True)
    with tf.Graph().as_default(), tf1.Session(config=config) as session:
        shape = (2, 8, 8, 64) if data_format == "NHWC" else (2, 64, 8, 8)
        images = tf1.placeholder_with_default(tf.ones(shape), shape)
        features = grouped_conv2d(images, 64, 3, options, groups=32, stride=1, name="probe")
        gradients = tf.gradients(tf.cast(features, tf.float32), [images, *tf1.trainable_variables()])
        session.run(tf1.global_variables_initializer())
        try:
            session.run(gradients)
        except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
            return "split"
    return "native"
