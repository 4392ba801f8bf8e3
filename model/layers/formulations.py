"""The formulations of a convolution in NHWC and of its two gradients: equal within rounding, fast in different places.

Shape symbols: N batch, H W image, h w output, C channels, F filters, G groups, a size of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import tensorflow as tf

from model.layers.choices import MATRIX, NATIVE, Choice, Signature
from model.layers.variable import tf1
from model.layers.winograd import winograd, winograd_filter

Compute = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, Signature], tf.Tensor]
"""A direction of a convolution, from its input [N, H, W, C], its kernel [a, a, C / G, F] and the gradient of its output
[N, h, w, F]. Forward uses the first two, the input gradient the last two and the shape of the first, and the filter
gradient the first, the last and the shape of the second."""

_MOST_BYTES = 2**28  # of a temporary tensor
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_JOINED = (2, 4, 8)


@dataclass(frozen=True, slots=True)
class Formulation:
    """A way to compute one direction.

    Attributes:
        compute: The function.
        suits: Returns whether it is for a convolution.
        multiplications: Those of its operations Conv2D and MatMul.
    """

    compute: Compute
    suits: Callable[[Signature], bool]
    multiplications: Callable[[Signature], int] = lambda s: s.multiplications


def _is_any(_: Signature) -> bool:
    return True


def _is_pointwise(s: Signature) -> bool:
    return s.size == 1 and s.stride == 1 and s.groups == 1


def _has_patches(s: Signature) -> bool:
    height, width = s.output_sides
    size = (s.batch or 1) * height * width * s.size**2 * s.channels * _BYTES.get(s.dtype, 4)
    return s.size > 1 and s.groups == 1 and s.batch is not None and size <= _MOST_BYTES


def _has_taps(s: Signature) -> bool:
    return s.size > 1 and s.groups == 1 and s.batch is not None


def _is_mirrored(s: Signature) -> bool:
    return s.stride == 1 and s.size % 2 == 1 and (s.padding == "SAME" or s.size == 1)


def _has_mirrored_patches(s: Signature) -> bool:
    return _is_mirrored(s) and _has_patches(replace(s, channels=s.filters))


def _is_winograd(s: Signature) -> bool:
    fits = (s.size, s.stride, s.groups, s.padding, s.dtype) == (3, 1, 1, "SAME", "float32")  # bfloat16 rounds too much
    return fits and s.batch is not None and 16 * 4 * _tiles(s) * max(s.channels, s.filters) <= _MOST_BYTES


def _tiles(s: Signature) -> int:
    return (s.batch or 1) * -(-s.height // 2) * -(-s.width // 2)


def _winograd_multiplications(s: Signature) -> int:
    return 16 * 9 * s.channels * s.filters + 4 * 16 * _tiles(s) * s.filters


def _is_grouped(s: Signature) -> bool:
    return s.groups > 1


def _is_joined(count: int, s: Signature) -> bool:
    return s.groups > 1 and s.groups % count == 0


def _times(count: int, s: Signature) -> int:
    return count * s.multiplications


def _strides(s: Signature) -> list[int]:
    return [1, s.stride, s.stride, 1]


def _native(x: tf.Tensor, k: tf.Tensor, _: Any, s: Signature) -> tf.Tensor:
    return tf.nn.conv2d(x, k, _strides(s), padding=s.padding)


def _native_input(x: tf.Tensor, k: tf.Tensor, dy: tf.Tensor, s: Signature) -> tf.Tensor:
    return tf1.nn.conv2d_backprop_input(tf.shape(x), k, dy, strides=_strides(s), padding=s.padding)


def _native_filter(x: tf.Tensor, k: tf.Tensor, dy: tf.Tensor, s: Signature) -> tf.Tensor:
    return tf1.nn.conv2d_backprop_filter(x, k.shape, dy, strides=_strides(s), padding=s.padding)


def _matrix(x: tf.Tensor, k: tf.Tensor, _: Any, s: Signature) -> tf.Tensor:
    matrix = tf.reshape(k, k.shape[2:])
    product = tf.matmul(tf.reshape(x, [-1, s.channels]), matrix)
    return tf.reshape(product, [*x.shape[:3], s.filters])


def _matrix_input(x: tf.Tensor, k: tf.Tensor, dy: tf.Tensor, s: Signature) -> tf.Tensor:
    product = tf.matmul(tf.reshape(dy, [-1, s.filters]), tf.reshape(k, k.shape[2:]), transpose_b=True)
    return tf.reshape(product, tf.shape(x))


def _matrix_filter(x: tf.Tensor, k: tf.Tensor, dy: tf.Tensor, s: Signature) -> tf.Tensor:
    dk = tf.matmul(tf.reshape(x, [-1, s.channels]), tf.reshape(dy, [-1, s.filters]), transpose_a=True)
    return tf.reshape(dk, k.shape)


def _patches(x: tf.Tensor, k: tf.Tensor, _: Any, s: Signature) -> tf.Tensor:
    product = tf.matmul(_extract_patches(x, s), tf.reshape(k, [-1, s.filters]))
    return tf.reshape(product, [s.batch, *s.output_sides, s.filters])


def _patches_filter(x: tf.Tensor, k: tf.Tensor, dy: tf.Tensor, s: Signature) -> tf.Tensor:
    dk = tf.matmul(_extract_patches(x, s), tf.reshape(dy, [-1, s.filters]), transpose_a=True)
    return tf.reshape(dk, k.shape)


def _taps_filter(x: tf.Tensor, k: tf.Tensor, dy: tf.Tensor, s: Signature) -> tf.Tensor:
    """The filter gradient pixel by pixel of the kernel, without all patches in memory at once."""
    gradient = tf.reshape(dy, [-1, s.filters])
    taps = [tf.matmul(tf.reshape(one, [-1, s.channels]), gradient, transpose_a=True) for one in _shifted(x, s)]
    return tf.reshape(tf.concat(taps, axis=0), k.shape)


def _extract_patches(x: tf.Tensor, s: Signature) -> tf.Tensor:
    """Extracts the square of ``size`` pixels behind each output pixel, [N * h * w, size * size * C]."""
    return tf.reshape(tf.concat(list(_shifted(x, s)), axis=3), [-1, s.size * s.size * s.channels])


def _shifted(x: tf.Tensor, s: Signature) -> Iterator[tf.Tensor]:
    """The pixels that each pixel of the kernel is multiplied with, row by row of the kernel, [N, h, w, C] each."""
    batch, height, width, channels = x.shape
    size, stride, outputs = s.size, s.stride, s.output_sides
    if s.padding == "SAME":
        sides = zip((height, width), outputs, strict=True)
        before = [max((output - 1) * stride + size - side, 0) // 2 for side, output in sides]
        x = tf.pad(x, [(0, 0), *((first, size - 1 - first) for first in before), (0, 0)])
    else:
        height, width = height - size + 1, width - size + 1
    for corner in ((i, j) for i in range(size) for j in range(size)):
        yield every_nth(tf.slice(x, [0, *corner, 0], [batch, height, width, channels]), stride)


def _winograd(x: tf.Tensor, k: tf.Tensor, _: Any, s: Signature) -> tf.Tensor:
    del s  # it is always the same
    return winograd(x, k)


def _winograd_filter(x: tf.Tensor, k: tf.Tensor, dy: tf.Tensor, s: Signature) -> tf.Tensor:
    del k, s
    return winograd_filter(x, dy)


def every_nth(inputs: tf.Tensor, stride: int) -> tf.Tensor:
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


def _mirrored(compute: Compute, _: Any, k: tf.Tensor, dy: tf.Tensor, s: Signature) -> tf.Tensor:
    """The input gradient as a convolution with the kernel turned by 180 degrees, its channels and filters swapped."""
    inside, outside = s.channels // s.groups, s.filters // s.groups
    by_group = tf.reshape(tf.reverse(k, [0, 1]) if s.size > 1 else k, [s.size, s.size, inside, s.groups, outside])
    kernel = tf.reshape(tf.transpose(by_group, [0, 1, 4, 3, 2]), [s.size, s.size, outside, s.channels])
    return compute(dy, kernel, None, replace(s, channels=s.filters, filters=s.channels))


def _widened(k: tf.Tensor, s: Signature, count: int) -> tf.Tensor:
    """The kernel [a, a, count * C / G, F] that joins ``count`` groups at a time: zero from each to the others."""
    inside, outside = s.channels // s.groups, s.filters // s.groups
    own = tf.reshape(k, [s.size, s.size, 1, inside, s.groups // count, count, outside])
    return tf.reshape(own * _diagonal(count, k.dtype), [s.size, s.size, count * inside, s.filters])


def _diagonal(count: int, dtype: tf.DType) -> tf.Tensor:
    return tf.reshape(tf.eye(count, dtype=dtype), [1, 1, count, 1, 1, count, 1])


def _joined(count: int, compute: Compute, x: tf.Tensor, k: tf.Tensor, dy: Any, s: Signature) -> tf.Tensor:
    return compute(x, _widened(k, s, count), dy, replace(s, groups=s.groups // count))


def _joined_filter(count: int, x: tf.Tensor, k: tf.Tensor, dy: tf.Tensor, s: Signature) -> tf.Tensor:
    inside, outside = s.channels // s.groups, s.filters // s.groups
    wide = tf1.nn.conv2d_backprop_filter(
        x, [s.size, s.size, count * inside, s.filters], dy, strides=_strides(s), padding=s.padding
    )
    blocks = tf.reshape(wide, [s.size, s.size, count, inside, s.groups // count, count, outside])
    return tf.reshape(tf.reduce_sum(blocks * _diagonal(count, wide.dtype), axis=2), k.shape)


def _split(compute: Compute, axis: int, x: tf.Tensor, k: tf.Tensor, dy: Any, s: Signature) -> tf.Tensor:
    """Computes group by group; ``axis`` is that of the groups in the result."""
    count = s.groups
    one = replace(s, groups=1, channels=s.channels // count, filters=s.filters // count)
    gradients = [None] * count if dy is None else tf.split(dy, count, axis=3)
    parts = zip(tf.split(x, count, axis=3), tf.split(k, count, axis=3), gradients, strict=True)
    return tf.concat([compute(*part, one) for part in parts], axis=axis)


def _joined_rows(make: Callable[[int], Compute]) -> dict[str, Formulation]:
    return {
        f"joined_{count}": Formulation(make(count), partial(_is_joined, count), partial(_times, count))
        for count in _JOINED
    }


FORWARD = {
    "native": Formulation(_native, _is_any),
    "matrix": Formulation(_matrix, _is_pointwise),
    "patches": Formulation(_patches, _has_patches),
    "winograd": Formulation(_winograd, _is_winograd, _winograd_multiplications),
    "split": Formulation(partial(_split, _native, 3), _is_grouped),
    **_joined_rows(lambda count: partial(_joined, count, _native)),
}
INPUT_GRADIENT = {
    "native": Formulation(_native_input, _is_any),
    "matrix": Formulation(_matrix_input, _is_pointwise),
    "mirrored": Formulation(partial(_mirrored, _native), _is_mirrored),
    "mirrored_patches": Formulation(partial(_mirrored, _patches), _has_mirrored_patches),
    "mirrored_winograd": Formulation(partial(_mirrored, _winograd), _is_winograd),
    "split": Formulation(partial(_split, _native_input, 3), _is_grouped),
    **_joined_rows(lambda count: partial(_joined, count, _native_input)),
}
FILTER_GRADIENT = {
    "native": Formulation(_native_filter, _is_any),
    "matrix": Formulation(_matrix_filter, _is_pointwise),
    "patches": Formulation(_patches_filter, _has_patches),
    "taps": Formulation(_taps_filter, _has_taps),
    "winograd": Formulation(_winograd_filter, _is_winograd),
    "split": Formulation(partial(_split, _native_filter, 3), _is_grouped),
    **_joined_rows(lambda count: partial(_joined_filter, count)),
}
DIRECTIONS = {"forward": FORWARD, "input_gradient": INPUT_GRADIENT, "filter_gradient": FILTER_GRADIENT}
"""The formulations of each direction by name. TensorFlow's own comes first; a new one is a row here."""


def suitable(direction: str, signature: Signature) -> list[str]:
    """The names of the formulations that compute a direction of a convolution, TensorFlow's own first."""
    return [name for name, row in DIRECTIONS[direction].items() if row.suits(signature)]


def fault_of(key: str, names: tuple[str, ...]) -> str | None:
    """A phrase if a signature's key or the names of its three formulations are wrong; None if they are usable."""
    try:
        signature = Signature.from_key(key)
    except ValueError as error:
        return str(error)
    if len(names) != len(DIRECTIONS):
        return f"{key!r} has {len(names)} formulations, and must have {len(DIRECTIONS)}"
    for direction, name in zip(DIRECTIONS, names, strict=True):
        if name not in (known := suitable(direction, signature)):
            return f"{key!r} has the {direction} {name!r}, and must have one of {', '.join(known)}"
    return None


def convolve_as(choice: Choice, inputs: tf.Tensor, kernel: tf.Tensor, signature: Signature) -> tf.Tensor:
    """Convolves in NHWC; the choice says in which formulations forward and in the gradients."""
    if choice in (NATIVE, MATRIX):  # TensorFlow's own gradients are those of the choice
        return FORWARD[choice.forward].compute(inputs, kernel, None, signature)

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow is not typed
    def convolve(x: tf.Tensor, k: tf.Tensor) -> Any:
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dx = INPUT_GRADIENT[choice.input_gradient].compute(x, k, dy, signature)
            return dx, FILTER_GRADIENT[choice.filter_gradient].compute(x, k, dy, signature)

        return FORWARD[choice.forward].compute(x, k, None, signature), gradient

    return convolve(inputs, tf.convert_to_tensor(kernel))
