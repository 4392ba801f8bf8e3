"""Convolution without bias, plain or in groups, and the probe that picks the grouped kernel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from model.layers.choices import Signature
from model.layers.formulations import FORWARD, convolve_as, every_nth
from model.layers.options import LayerOptions, normal, variance_scaling
from model.layers.variable import tf1, variable
from model.specs import CHOSEN_CONVOLUTIONS, ChosenConvolution


def conv2d(
    inputs: tf.Tensor,
    filters: int,
    kernel_size: int,
    options: LayerOptions,
    *,
    stride: int = 1,
    groups: int = 1,
    transform: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tf.Tensor:
    """Convolves with TensorFlow's SAME padding, which for stride 2 pads the bottom and right more, or symmetrically.

    The variable is ``options.kernel_name`` in the current scope, [kernel_size, kernel_size, C, filters]. A grouped
    convolution calls it ``<current scope>group_filter``, without a slash and with C / groups in place of C, as
    published checkpoints do. Grouped kernels are initialized like all others, by ``options.weight_init`` with the fan
    of one group; the original always used Glorot's uniform.

    Args:
        inputs: [N, H, W, C] or [N, C, H, W].
        filters: Output channels.
        kernel_size: Height and width of the kernel.
        options: Shared options.
        stride: Spatial stride.
        groups: Number of groups.
        transform: Changes the kernel before use, its values or its number of filters; the variable does not change.

    Returns:
        The feature map, in the layout and type of ``options``.

    Raises:
        ValueError: ``groups`` does not divide the input or output channels.
    """
    kernel = conv2d_kernel(inputs.shape[options.channel_axis], filters, kernel_size, options, groups=groups)
    if options.quantizer is not None:
        with conv2d_scope(groups, options):
            kernel = options.quantizer.weights(kernel)
    if transform is not None:
        kernel = transform(kernel)
    return convolve(inputs, kernel, options, stride=stride, groups=groups)


def convolve(inputs: tf.Tensor, kernel: tf.Tensor, options: LayerOptions, *, stride: int, groups: int) -> tf.Tensor:
    """Convolves as ``conv2d`` does, with an existing kernel [kernel_size, kernel_size, C / groups, filters]."""
    inputs, kernel = tf.cast(inputs, options.compute_dtype), tf.cast(kernel, options.compute_dtype)
    if groups == 1 or options.grouped_convolution == "native":
        return _convolve(inputs, kernel, stride, groups, options)
    slices = zip(tf.split(inputs, groups, axis=options.channel_axis), tf.split(kernel, groups, axis=3), strict=True)
    return tf.concat([_convolve(x, k, stride, 1, options) for x, k in slices], axis=options.channel_axis)


def conv2d_kernel(channels: int, filters: int, kernel_size: int, options: LayerOptions, *, groups: int) -> tf.Variable:
    """Creates the variable that ``conv2d`` convolves with.

    Raises:
        ValueError: ``groups`` does not divide the input or output channels.
    """
    if channels % groups or filters % groups:
        raise ValueError(f"{groups} groups do not divide {channels} input and {filters} output channels")
    shape = (kernel_size, kernel_size, channels // groups, filters)
    if groups == 1:
        name = options.kernel_name.rpartition("/")[2]
        with conv2d_scope(groups, options):
            if options.kernel_init is not None:
                return variable(name, shape, normal(options, name, options.kernel_init))
            return variable(name, shape, variance_scaling(options, name, scale=2.0, mode=options.weight_init))
    name = f"{tf1.get_variable_scope().name.rpartition('/')[2]}group_filter"
    # The initializer counts the filters of all groups in the fan-out; the gain corrects it to that of one group.
    gain = 2.0 * groups if options.weight_init == "fan_out" else 2.0
    return variable(name, shape, variance_scaling(options, name, scale=gain, mode=options.weight_init))


def conv2d_scope(groups: int, options: LayerOptions) -> contextlib.AbstractContextManager[Any]:
    """Opens the scope, within the current one, that owns a kernel and its ranges."""
    scope = options.kernel_name.rpartition("/")[0]
    return tf1.variable_scope(scope) if scope and groups == 1 else contextlib.nullcontext()


def _convolve(inputs: tf.Tensor, kernel: tf.Tensor, stride: int, groups: int, options: LayerOptions) -> tf.Tensor:
    padding, size = "SAME", kernel.shape[0]
    if options.symmetric_padding and stride > 1 and size > 1:
        inputs, padding = _pad_alike(inputs, size, options), "VALID"
    if options.training and options.device == "cpu" and options.data_format == "NHWC":
        if size == 1:
            inputs, stride = every_nth(inputs, stride), 1
        return _as_chosen(inputs, kernel, options, stride=stride, groups=groups, padding=padding)
    return tf.nn.conv2d(inputs, kernel, options.strides(stride), padding=padding, data_format=options.data_format)


def _pad_alike(inputs: tf.Tensor, size: int, options: LayerOptions) -> tf.Tensor:
    """Pads in a separate operation: oneDNN has no kernel for explicit padding, and its filter gradient is slow."""
    sides = [(size - 1) // 2] * 2
    spatial = [sides, sides]
    return tf.pad(inputs, [[0, 0], *spatial, [0, 0]] if options.data_format == "NHWC" else [[0, 0], [0, 0], *spatial])


def _as_chosen(
    inputs: tf.Tensor, kernel: tf.Tensor, options: LayerOptions, *, stride: int, groups: int, padding: str
) -> tf.Tensor:
    """Convolves in the formulations of ``options.choices``, and notes the choice in the graph."""
    batch, height, width, channels = inputs.shape
    signature = Signature(
        batch=batch,
        height=height,
        width=width,
        channels=channels,
        filters=kernel.shape[3],
        size=kernel.shape[0],
        stride=stride,
        groups=groups,
        padding=padding,
        dtype=inputs.dtype.name,
    )
    choice = options.choices.of(signature)
    chosen = ChosenConvolution(
        key=signature.key,
        names=choice.names,
        rules=options.choices.built_in(signature).names,
        excess=FORWARD[choice.forward].multiplications(signature) - signature.multiplications,
    )
    tf1.add_to_collection(CHOSEN_CONVOLUTIONS, chosen)
    return convolve_as(choice, inputs, kernel, signature)


def probe_grouped_convolution(data_format: str, compute_dtype: tf.DType, config: tf1.ConfigProto) -> str:
    """Tries a grouped convolution forward and backward, and returns how the networks should build theirs.

    Returns:
        "native" if the device runs it, else "split".

    Raises:
        tf.errors.OpError: The device fails for another reason than a missing kernel.
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
        except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError) as error:
            if "DNN library" in error.message:  # cuDNN did not start, so no convolution would run
                raise
            return "split"
    return "native"
