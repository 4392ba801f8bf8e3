"""Operations on the pixels of 8-bit images, by TensorFlow's own kernels, with Pillow's arithmetic.

An image is ``[S, S, 3]`` float32 and holds whole numbers of 0..255, RGB. Results are such images, within one grey level
of Pillow's. Point operations look values up in a table; the table of an image may depend on its histogram.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from utils.image_processing import CHANNELS

LEVELS = 256
GRAY_WEIGHTS = (19595.0, 38470.0, 7471.0)  # ITU-R BT.601 in fractions of 65536
SMOOTHING_WEIGHTS = (1.0, 4.0, 13.0)  # each of nine pixels, more for the center, and their sum
SOLARIZED_FROM = 128
_FIXED_POINT = 65536  # Pillow's nearest pixels are found in 16 bits after the point

Matrix = Sequence[tf.Tensor]
"""Six float64 scalars ``a, b, c, d, e, f``: a point ``(x, y)`` of the result shows ``(ax + by + c, dx + ey + f)``.

Pixel centers lie at halves.
"""


def gray(image: tf.Tensor) -> tf.Tensor:
    """The luma of each pixel, ``[S, S, 1]``, in whole numbers."""
    size = image.shape[0]
    weighted = tf.reshape(
        tf.reshape(image, [size * size, CHANNELS]) @ tf.constant(GRAY_WEIGHTS)[:, tf.newaxis], [size, size, 1]
    )
    return tf.floor((weighted + _FIXED_POINT / 2) / _FIXED_POINT)


def brightness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies all values."""
    return _looked_up(image, _clipped(_levels() * factor))


def contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies the distances of all values from the mean luma."""
    mean = tf.floor(tf.reduce_mean(gray(image)) + 0.5)
    return _looked_up(image, _clipped(mean + factor * (_levels() - mean)))


def color(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies the distances of all values from the luma of their pixel."""
    luma = gray(image)
    return _clipped(luma + factor * (image - luma))


def sharpness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies the distances from the smoothed image; pixels at the border stay as they are."""
    if image.shape[0] < 3:
        return image
    each, center, total = SMOOTHING_WEIGHTS
    rows = image[:-2] + image[1:-1] + image[2:]
    inner = image[1:-1, 1:-1]
    smooth = tf.floor(((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) * each + inner * center) / total + 0.5)
    change = _clipped(smooth + factor * (inner - smooth)) - inner
    return image + tf.pad(change, [[1, 1], [1, 1], [0, 0]])


def posterize(image: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Keeps only the highest ``bits`` bits of each value."""
    step = 2.0 ** (8.0 - bits)
    return _looked_up(image, tf.floor(_levels() / step) * step)


def solarize(image: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Inverts the values from ``threshold`` on."""
    return _looked_up(image, tf.where(_levels() < threshold, _levels(), LEVELS - 1 - _levels()))


def solarize_add(image: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Adds to the values below 128."""
    return _looked_up(image, tf.where(_levels() < SOLARIZED_FROM, _clipped(_levels() + amount), _levels()))


def invert(image: tf.Tensor) -> tf.Tensor:
    """Subtracts all values from 255."""
    return _looked_up(image, LEVELS - 1 - _levels())


def auto_contrast(image: tf.Tensor) -> tf.Tensor:
    """Stretches the range of each channel to 0..255; a channel of one value stays."""
    present, levels = _histogram(image) > 0, tf.range(LEVELS)
    low = tf.reduce_min(tf.where(present, levels, LEVELS), axis=1, keepdims=True)
    high = tf.reduce_max(tf.where(present, levels, -1), axis=1, keepdims=True)
    stretched = (LEVELS - 1) * (levels - low) // tf.maximum(high - low, 1)
    return _looked_up_by_channel(image, tf.where(high > low, stretched, levels))


def equalize(image: tf.Tensor) -> tf.Tensor:
    """Spreads the values of each channel so that all are about equally frequent; a channel of one value stays."""
    counts, levels = _histogram(image), tf.range(LEVELS)
    highest = tf.reduce_max(tf.where(counts > 0, levels, -1), axis=1)
    of_highest = tf.gather(counts, highest, axis=1, batch_dims=1)
    step = ((tf.reduce_sum(counts, axis=1) - of_highest) // (LEVELS - 1))[:, tf.newaxis]
    spread = (step // 2 + tf.cumsum(counts, axis=1, exclusive=True)) // tf.maximum(step, 1)
    return _looked_up_by_channel(image, tf.where(step > 0, tf.minimum(spread, LEVELS - 1), levels))


def affine_nearest(image: tf.Tensor, matrix: Matrix, fill: Sequence[float]) -> tf.Tensor:
    """The transformed image by the nearest pixel; ``fill`` is the color of what lies outside of the image."""
    size = image.shape[0]
    a, b, c, d, e, f = matrix

    def source(along: tf.Tensor, across: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        first, right, down = (
            tf.cast(tf.floor(value * _FIXED_POINT + 0.5), tf.int32)
            for value in (start + along / 2 + across / 2, along, across)
        )
        places = first + right * tf.range(size) + down * tf.range(size)[:, tf.newaxis]
        return tf.bitwise.right_shift(places, 16)

    x, y = source(a, b, c), source(d, e, f)
    inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    pixels = tf.concat([tf.reshape(image, [size * size, CHANNELS]), tf.constant([fill], tf.float32)], axis=0)
    return tf.gather(pixels, tf.where(inside, y * size + x, size * size))


def affine_bilinear(image: tf.Tensor, matrix: Matrix, fill: Sequence[float]) -> tf.Tensor:
    """The transformed image by bilinear interpolation; ``fill`` as for ``affine_nearest``, without blending."""
    size = image.shape[0]
    a, b, c, d, e, f = (tf.cast(value, tf.float32) for value in matrix)
    x_shift, y_shift = c + (a + b - 1.0) / 2, f + (d + e - 1.0) / 2  # TensorFlow's pixel centers lie at whole numbers
    zero = tf.zeros([])
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=tf.stack([a, b, x_shift, d, e, y_shift, zero, zero])[tf.newaxis],
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",  # at the border; what lies further outside is filled below
    )[0]
    columns = tf.range(size, dtype=tf.float32)
    rows = columns[:, tf.newaxis]
    x, y = a * columns + b * rows + x_shift + 0.5, d * columns + e * rows + y_shift + 0.5
    inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    return tf.where(inside[..., tf.newaxis], tf.floor(moved), tf.constant(fill, tf.float32))


def _levels() -> tf.Tensor:
    return tf.range(LEVELS, dtype=tf.float32)


def _clipped(values: tf.Tensor) -> tf.Tensor:
    return tf.floor(tf.clip_by_value(values, 0.0, LEVELS - 1.0))


def _looked_up(image: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Replaces each value by its place in a ``[256]`` table."""
    return tf.gather(table, tf.cast(image, tf.int32))


def _looked_up_by_channel(image: tf.Tensor, tables: tf.Tensor) -> tf.Tensor:
    """Replaces each value by its place in its channel's row of ``[3, 256]`` int32 tables."""
    return tf.gather(tf.cast(tf.reshape(tables, [-1]), tf.float32), _by_channel(image))


def _by_channel(image: tf.Tensor) -> tf.Tensor:
    """The values, plus 256 times the number of their channel."""
    return tf.cast(image, tf.int32) + LEVELS * tf.range(CHANNELS)


def _histogram(image: tf.Tensor) -> tf.Tensor:
    """The number of pixels of each value in each channel, ``[3, 256]`` int32."""
    size = CHANNELS * LEVELS
    counts = tf.raw_ops.DenseBincount(
        input=tf.reshape(_by_channel(image), [-1]), size=size, weights=tf.zeros([0], tf.int32), binary_output=False
    )
    return tf.reshape(counts, [CHANNELS, LEVELS])
