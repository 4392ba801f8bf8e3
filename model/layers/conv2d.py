"""Convolution without bias, plain or in groups, and the probe that picks the grouped kernel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from model.layers.options import LayerOptions, normal, variance_scaling
from model.layers.variable import tf1, variable

# Up to this many output pixels in a batch, training on CPUs computes convolutions as matrix products: oneDNN reorders
# the filters in each step, which takes longer than the arithmetic (TensorFlow 2.21).
FEW_PIXELS = 1024


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
        return _convolve(inputs, kernel, stride, options)
    slices = zip(tf.split(inputs, groups, axis=options.channel_axis), tf.split(kernel, groups, axis=3), strict=True)
    return tf.concat([_convolve(x, k, stride, options) for x, k in slices], axis=options.channel_axis)


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


def _convolve(inputs: tf.Tensor, kernel: tf.Tensor, stride: int, options: LayerOptions) -> tf.Tensor:
    if options.symmetric_padding and stride > 1 and kernel.shape[0] > 1:
        return _convolve_padded_alike(inputs, kernel, stride, options)
    if options.training and options.device == "cpu" and options.data_format == "NHWC":
        if kernel.shape[0] == 1:
            return _pointwise(_every_nth(inputs, stride), kernel)
        same_channels = kernel.shape[2] == inputs.shape[3]
        if same_channels and inputs.dtype == tf.bfloat16 and _few_pixels(inputs, stride):
            return _with_filter_gradient(inputs, kernel, stride, lambda x: _patches(x, kernel.shape[0], stride))
    return tf.nn.conv2d(inputs, kernel, options.strides(stride), padding="SAME", data_format=options.data_format)


def _convolve_padded_alike(inputs: tf.Tensor, kernel: tf.Tensor, stride: int, options: LayerOptions) -> tf.Tensor:
    """Pads in a separate operation: oneDNN has no kernel for explicit padding, and its filter gradient is slow."""
    sides = [(kernel.shape[0] - 1) // 2] * 2
    spatial = [sides, sides]
    padded = tf.pad(inputs, [[0, 0], *spatial, [0, 0]] if options.data_format == "NHWC" else [[0, 0], [0, 0], *spatial])
    return tf.nn.conv2d(padded, kernel, options.strides(stride), padding="VALID", data_format=options.data_format)


def _few_pixels(inputs: tf.Tensor, stride: int) -> bool:
    batch, height, width, _ = inputs.shape
    return batch is not None and batch * -(-height // stride) * -(-width // stride) <= FEW_PIXELS


def _pointwise(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Computes a 1x1 convolution in NHWC for training on CPUs; over few pixels as a matrix product."""
    if _few_pixels(inputs, 1):
        matrix = tf.reshape(kernel, kernel.shape[2:])
        product = tf.matmul(tf.reshape(inputs, [-1, matrix.shape[0]]), matrix)
        return tf.reshape(product, [*inputs.shape[:3], matrix.shape[1]])
    if inputs.dtype == tf.bfloat16:
        return _with_filter_gradient(inputs, kernel, 1, lambda x: tf.reshape(x, [-1, x.shape[3]]))
    return tf.nn.conv2d(inputs, kernel, 1, padding="SAME")


def _with_filter_gradient(
    inputs: tf.Tensor, kernel: tf.Tensor, stride: int, patches: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Convolves in NHWC, with one matrix product as the filter gradient.

    In bfloat16 on CPUs this is faster than TensorFlow's gradient: 1.5 to 6 times for 1x1 kernels, 2 to 3 times for
    larger ones over few pixels (TensorFlow 2.21, oneDNN).

    Args:
        inputs: [N, H, W, C].
        kernel: [size, size, C, filters].
        stride: Spatial stride.
        patches: Computes the rows [pixels of the output, size * size * C] that the kernel is multiplied with.
    """
    strides = [1, stride, stride, 1]

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow is not typed
    def convolve(x: tf.Tensor, k: tf.Tensor) -> Any:
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dx = tf1.nn.conv2d_backprop_input(tf.shape(x), k, dy, strides=strides, padding="SAME")
            dk = tf.matmul(patches(x), tf.reshape(dy, [-1, k.shape[3]]), transpose_a=True)
            return dx, tf.reshape(dk, k.shape)

        return tf.nn.conv2d(x, k, strides, padding="SAME"), gradient

    return convolve(inputs, kernel)


def _patches(inputs: tf.Tensor, size: int, stride: int) -> tf.Tensor:
    """Extracts the square of ``size`` pixels around each output pixel (SAME), [N * h * w, size * size * C]."""
    batch, height, width, channels = inputs.shape
    before = [max((-(-side // stride) - 1) * stride + size - side, 0) // 2 for side in (height, width)]
    padded = tf.pad(inputs, [(0, 0), *((first, size - 1 - first) for first in before), (0, 0)])
    corners = [(i, j) for i in range(size) for j in range(size)]
    shifted = (tf.slice(padded, [0, *corner, 0], [batch, height, width, channels]) for corner in corners)
    return tf.reshape(tf.concat([_every_nth(x, stride) for x in shifted], axis=3), [-1, size * size * channels])


def _every_nth(inputs: tf.Tensor, stride: int) -> tf.Tensor:
    """Selects the pixels that a 1x1 convolution with this stride reads, [N, ceil(H / stride), ceil(W / stride), C].

    On a CPU a strided slice takes longer than the convolution itself (TensorFlow 2.21). If the stride divides both
    sides, an unstrided slice of a reshaped tensor selects the same pixels.
    """
    _, height, width, channels = inputs.shape
    if stride == 1:
        return inputs
    if height % stride or width % stride:
        return inputs[:, ::stride, ::stride, :]
    rows, columns = height // stride, width // stride
    squares = tf.reshape(inputs, [-1, rows, stride, columns, stride * channels])
    corners = tf.slice(squares, [0] * 5, [-1, rows, 1, columns, channels])
    return tf.ensure_shape(tf.reshape(corners, [-1, rows, columns, channels]), [inputs.shape[0], None, None, None])


def probe_grouped_convolution(data_format: str, compute_dtype: tf.DType, config: tf1.ConfigProto) -> str:
    """Tries a grouped convolution forward and backward, and returns how the networks should build theirs.

    Returns:
        "native" if the device runs it, else "split".
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
