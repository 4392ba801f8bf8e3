"""Winograd's algorithm F(2x2, 3x3) in matrix products: 16 multiplications in place of 36 for four pixels of the output.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv:1509.09308.
Shape symbols: N batch, H W image, t u rows and columns of tiles of 2 x 2 pixels, C channels, F filters.
"""

from __future__ import annotations

import tensorflow as tf

_Matrix = tuple[tuple[float, ...], ...]
_KERNEL: _Matrix = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_OUTPUT: _Matrix = ((1, 1, 1, 0), (0, 1, -1, -1))


def winograd(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolves [N, H, W, C] with [3, 3, C, F] at stride 1 and with SAME padding, in float32."""
    batch, height, width, channels = x.shape
    rows, columns, filters = -(-height // 2), -(-width // 2), kernel.shape[3]
    kernels = _transformed(_KERNEL, kernel, [16, channels, filters])
    products = tf.matmul(_input_tiles(x), kernels)
    outputs = _transformed(_OUTPUT, products, [2, 2, batch, rows, columns, filters])
    tiles = tf.transpose(outputs, [2, 3, 0, 4, 1, 5])
    whole = tf.reshape(tiles, [batch, 2 * rows, 2 * columns, filters])
    return whole if not height % 2 and not width % 2 else tf.slice(whole, [0] * 4, [batch, height, width, filters])


def winograd_filter(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
    """The gradient [3, 3, C, F] of ``winograd`` for its kernel, from that of its output [N, H, W, F]."""
    batch, height, width, filters = dy.shape
    rows, columns, channels = -(-height // 2), -(-width // 2), x.shape[3]
    whole = tf.pad(dy, [(0, 0), (0, height % 2), (0, width % 2), (0, 0)]) if height % 2 or width % 2 else dy
    tiles = tf.transpose(tf.reshape(whole, [batch, rows, 2, columns, 2, filters]), [2, 4, 0, 1, 3, 5])
    gradients = _transformed(_OUTPUT, tiles, [16, batch * rows * columns, filters], back=True)
    products = tf.matmul(_input_tiles(x), gradients, transpose_a=True)
    return _transformed(_KERNEL, products, [3, 3, channels, filters], back=True)


def _input_tiles(x: tf.Tensor) -> tf.Tensor:
    """The transformed squares of 4 x 4 pixels around each tile of the output, [16, N * t * u, C]."""
    _, height, width, channels = x.shape
    more = [(0, 0), (1, height % 2 + 1), (1, width % 2 + 1), (0, 0)]
    by_row = _differences(tf.pad(x, more), axis=1)
    return tf.stack([tf.reshape(tile, [-1, channels]) for row in by_row for tile in _differences(row, axis=2)])


def _differences(x: tf.Tensor, axis: int) -> list[tf.Tensor]:
    """Transforms each four neighbours, two apart, along an axis of 2 * t + 2 pixels: four tensors with t pixels."""
    shape = [*x.shape]
    count = shape[axis] // 2
    pairs = tf.reshape(x, [*shape[:axis], count, 2, *shape[axis + 1 :]])
    even, odd = tf.unstack(pairs, axis=axis + 1)
    size = [*shape[:axis], count - 1, *shape[axis + 1 :]]
    first, last = [0] * len(shape), [int(i == axis) for i in range(len(shape))]
    a, c = tf.slice(even, first, size), tf.slice(even, last, size)
    b, d = tf.slice(odd, first, size), tf.slice(odd, last, size)
    return [a - c, b + c, c - b, b - d]


def _transformed(matrix: _Matrix, values: tf.Tensor, shape: list[int], *, back: bool = False) -> tf.Tensor:
    """Multiplies the squares of pixels, the first axes of ``values``, by a matrix from both sides."""
    both = [[a * b for a in row for b in column] for row in matrix for column in matrix]
    flat = tf.reshape(values, [len(both) if back else len(both[0]), -1])
    return tf.reshape(tf.matmul(tf.constant(both, values.dtype), flat, transpose_a=back), shape)
