"""Operations on the pixels of 8-bit images, by TensorFlow's own kernels, with Pillow's arithmetic.

An image is ``[S, S, 3]`` float32 and holds whole numbers of 0..255, RGB. Results are such images, within one grey level
of Pillow's. Of the point operations only Equalize looks values up in a table: arithmetic on whole images is several
times as fast as TensorFlow's gathering of single values (2.21).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from utils.image_processing import CHANNELS

LEVELS = 256
GRAY_WEIGHTS = (19595.0, 38470.0, 7471.0)  # ITU-R BT.601 in fractions of 65536
SMOOTHING_WEIGHTS = (1.0, 4.0, 13.0)  # each of nine pixels, more for the center, and their sum
SOLARIZED_FROM = 128
HIGHEST = 255.0
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
    """Multiplies all values by a factor of at least 0."""
    return tf.floor(tf.minimum(image * factor, HIGHEST))


def contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies the distances of all values from the mean luma."""
    channels = _by_channel(tf.reduce_mean, image)
    mean = tf.floor(tf.reduce_sum(channels * GRAY_WEIGHTS) / _FIXED_POINT + 0.5)
    return _clipped(image * factor + mean * (1.0 - factor))


def color(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies the distances of all values from the luma of their pixel."""
    luma = tf.repeat(tf.constant(GRAY_WEIGHTS)[:, tf.newaxis] / _FIXED_POINT, CHANNELS, axis=1)
    mixing = factor * tf.eye(CHANNELS) + (1.0 - factor) * luma
    return _clipped(tf.reshape(tf.reshape(image, [-1, CHANNELS]) @ mixing, image.shape))


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
    return tf.floor(image * (1.0 / step)) * step


def solarize(image: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Inverts the values from ``threshold`` on."""
    inverted = tf.cast(image >= threshold, tf.float32)  # a product is several times as fast as a selection
    return image + inverted * (HIGHEST - 2.0 * image)


def solarize_add(image: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Adds to the values below 128."""
    raised = tf.cast(image < SOLARIZED_FROM, tf.float32)
    return tf.minimum(image + raised * amount, HIGHEST)


def invert(image: tf.Tensor) -> tf.Tensor:
    """Subtracts all values from 255."""
    return HIGHEST - image


def auto_contrast(image: tf.Tensor) -> tf.Tensor:
    """Stretches the range of each channel to 0..255; a channel of one value stays."""
    low, high = _by_channel(tf.reduce_min, image), _by_channel(tf.reduce_max, image)
    varies = high > low
    low, spread = tf.where(varies, low, 0.0), tf.where(varies, high - low, HIGHEST)
    rows = in_rows(image)
    return tf.reshape(tf.floor((rows - _along_row(low, image)) * HIGHEST / _along_row(spread, image)), image.shape)


def equalize(image: tf.Tensor) -> tf.Tensor:
    """Spreads the values of each channel so that all are about equally frequent; a channel of one value stays."""
    size, levels = CHANNELS * LEVELS, tf.range(LEVELS)
    places = tf.cast(in_rows(image), tf.int32) + _along_row(LEVELS * tf.range(CHANNELS), image)
    counts = tf.raw_ops.DenseBincount(
        input=tf.reshape(places, [-1]), size=size, weights=tf.zeros([0], tf.int32), binary_output=False
    )
    counts = tf.reshape(counts, [CHANNELS, LEVELS])
    highest = tf.reduce_max(tf.where(counts > 0, levels, -1), axis=1)
    of_highest = tf.gather(counts, highest, axis=1, batch_dims=1)
    step = ((tf.reduce_sum(counts, axis=1) - of_highest) // (LEVELS - 1))[:, tf.newaxis]
    spread = (step // 2 + tf.cumsum(counts, axis=1, exclusive=True)) // tf.maximum(step, 1)
    tables = tf.where(step > 0, tf.minimum(spread, LEVELS - 1), levels)
    found = tf.gather_nd(tf.cast(tf.reshape(tables, [-1]), tf.float32), places[..., tf.newaxis])
    return tf.reshape(found, image.shape)


def affine_nearest(image: tf.Tensor, matrix: Matrix) -> tf.Tensor:
    """The transformed image by the nearest pixel; what lies outside of the image is black."""
    size = image.shape[0]
    places = tf.range(size, dtype=tf.float64)
    a, b, c, d, e, f = matrix

    def source(along: tf.Tensor, across: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        first, right, down = (
            tf.floor(value * _FIXED_POINT + 0.5) / _FIXED_POINT
            for value in (start + along / 2 + across / 2, along, across)
        )
        whole = tf.floor((first + right * places) + (down * places)[:, tf.newaxis])
        return tf.clip_by_value(whole + 1.0, 0.0, size + 1.0)  # in the image with a border of one pixel

    indices = source(d, e, f) * (size + 2) + source(a, b, c)
    framed = tf.pad(in_rows(image), [[1, 1], [CHANNELS, CHANNELS]])
    return tf.gather_nd(tf.reshape(framed, [(size + 2) ** 2, CHANNELS]), tf.cast(indices, tf.int32)[..., tf.newaxis])


def translate(image: tf.Tensor, right: tf.Tensor, down: tf.Tensor, most: int) -> tf.Tensor:
    """The image moved left and up by whole numbers of pixels of at most ``most``; what comes in is black."""
    framed = tf.pad(in_rows(image), [[most, most], [CHANNELS * most, CHANNELS * most]])
    top, left = most + tf.cast(down, tf.int32), CHANNELS * (most + tf.cast(right, tf.int32))
    size = image.shape[0]
    return tf.reshape(tf.slice(framed, tf.stack([top, left]), [size, CHANNELS * size]), image.shape)


def affine_bilinear(image: tf.Tensor, matrix: Matrix, fill: Sequence[float]) -> tf.Tensor:
    """The transformed image by bilinear interpolation; what lies outside has the color ``fill``, unblended."""
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


def in_rows(image: tf.Tensor) -> tf.Tensor:
    """The image as ``[S, 3 S]``, in which TensorFlow's operations with a row are several times as fast."""
    size = image.shape[0]
    return tf.reshape(image, [size, size * CHANNELS])


def _along_row(values: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """A value for each channel as a row of ``in_rows``."""
    return tf.tile(values, [image.shape[0]])


def _by_channel(reduce: Callable[..., tf.Tensor], image: tf.Tensor) -> tf.Tensor:
    """The ``[3]`` sums or the like of the channels."""
    return reduce(tf.reshape(reduce(in_rows(image), axis=0), [-1, CHANNELS]), axis=0)


def _clipped(values: tf.Tensor) -> tf.Tensor:
    return tf.floor(tf.clip_by_value(values, 0.0, HIGHEST))
