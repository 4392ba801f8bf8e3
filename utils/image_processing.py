"""Decodes, crops, resizes, flips and normalizes images; only this module defines the sampling grid.

Images are RGB in 0..255 until ``normalize``, which runs once, inside a task's graph. ``H`` and ``W`` are the height and
width of the encoded image in pixels. All randomness is stateless: the same seed gives the same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf

from utils.image_sizes import EVAL_CROP, ImageSize, sides_of
from utils.input.augmentation_specs import CropSpec
from utils.letterbox import resized_to_fit
from utils.weights.pretrained_config import MEAN_RGB, STD_RGB, Rgb

CHANNELS = 3

CROP_ATTEMPTS = 100
UNIFORM_ATTEMPTS = 10

MAX_EVAL_ASPECT = 32
_ROUNDING = 1e-6  # the share 224/236 of 236 pixels may be a little less than 224

JPEG_END = b"\xff\xd9"
PNG_BEGIN = b"\x89PNG\r\n\x1a\n"
JPEG_OPTIONS = {"channels": CHANNELS, "dct_method": "INTEGER_FAST", "fancy_upscaling": False}
JPEG_RATIOS = (2, 4, 8)
"""A JPEG can be decoded at one half, a quarter or an eighth of its size, from fewer coefficients of its cosines."""


def normalize(images: tf.Tensor, mean_rgb: Rgb = MEAN_RGB, std_rgb: Rgb = STD_RGB) -> tf.Tensor:
    """Subtracts the mean of each channel and divides by its standard deviation.

    Args:
        images: ``[N, H, W, 3]`` float32, RGB in 0..255.
        mean_rgb: The mean.
        std_rgb: The standard deviation.
    """
    return subtract_mean(images, mean_rgb) / tf.constant(std_rgb, dtype=images.dtype)


def denormalize(images: tf.Tensor, mean_rgb: Rgb, std_rgb: Rgb) -> tf.Tensor:
    """Inverts ``normalize``, up to rounding."""
    return images * tf.constant(std_rgb, dtype=images.dtype) + tf.constant(mean_rgb, dtype=images.dtype)


def subtract_mean(images: tf.Tensor, mean_rgb: Rgb) -> tf.Tensor:
    """Subtracts the mean of each channel, for networks whose first kernel was trained on pixels of this range."""
    return images - tf.constant(mean_rgb, dtype=images.dtype)


def normalized_range(mean_rgb: Sequence[float], std_rgb: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest value of any channel of a normalized image."""
    pairs = list(zip(mean_rgb, std_rgb, strict=True))
    return min(-mean / std for mean, std in pairs), max((255.0 - mean) / std for mean, std in pairs)


def resize_bilinear_legacy(image: tf.Tensor, height: Any, width: Any) -> tf.Tensor:
    """Resizes ``[H, W, 3]`` to ``[height, width, 3]`` float32; the only place that chooses the sampling grid.

    Output pixel ``i`` samples the input at ``i * H / height``, without half-pixel centers, aligned corners or
    antialiasing: weights trained on this grid lose accuracy when evaluated on another.
    """
    resized = tf.raw_ops.ResizeBilinear(
        images=image[tf.newaxis], size=tf.stack([height, width]), align_corners=False, half_pixel_centers=False
    )
    return resized[0]


def decode_full(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a whole JPEG, PNG or single-frame GIF to ``[H, W, 3]`` uint8.

    Raises:
        tf.errors.InvalidArgumentError: At run time, if the bytes are none of these or end early.
    """
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, **JPEG_OPTIONS),
        lambda: tf.io.decode_png(encoded, channels=CHANNELS),
    )
    image.set_shape([None, None, CHANNELS])
    return image


def image_shape(encoded: tf.Tensor) -> tf.Tensor:
    """Height and width in pixels, ``[2]`` int32, of the image that ``decode_full`` returns.

    JPEG and PNG headers state them; a JPEG that ends early or has data after its end is decoded instead.

    Raises:
        tf.errors.InvalidArgumentError: At run time, if there is no such header or the image cannot be decoded.
    """

    def of_png() -> tf.Tensor:
        return tf.reverse(tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.int32, little_endian=False), [0])

    def of_other() -> tf.Tensor:
        is_png = tf.equal(tf.strings.substr(encoded, 0, 8), PNG_BEGIN)
        return tf.cond(is_png, of_png, lambda: tf.shape(decode_full(encoded))[:2])

    return tf.ensure_shape(
        tf.cond(_is_whole_jpeg(encoded), lambda: tf.io.extract_jpeg_shape(encoded)[:2], of_other), [2]
    )


def _is_whole_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    """Returns whether a JPEG ends with its end marker.

    One without is decoded as a whole. Otherwise crops of its upper part would decode, and it would fail only in some
    epochs.
    """
    return tf.io.is_jpeg(encoded) & tf.equal(tf.strings.substr(encoded, -2, 2), JPEG_END)


def decode_window(encoded: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Decodes a window of an image, ``[h, w, 3]`` uint8, and of a JPEG only that part; ``window`` as in ``View``."""

    def part_of_other() -> tf.Tensor:
        begin, extent = tf.split(window, 2)
        return tf.slice(decode_full(encoded), tf.pad(begin, [[0, 1]]), tf.pad(extent, [[0, 1]], constant_values=-1))

    part = tf.cond(
        _is_whole_jpeg(encoded),
        lambda: tf.io.decode_and_crop_jpeg(encoded, window, **JPEG_OPTIONS),
        part_of_other,
    )
    part.set_shape([None, None, CHANNELS])
    return part


class View(NamedTuple):
    """The part of an encoded image that a network sees: a window of it, resized, and a rectangle cut out of that.

    Attributes:
        encoded: Scalar bytes.
        window: ``[4]`` int32, ``[y, x, height, width]`` in pixels of the image.
        mirrored: Scalar boolean, whether the window is mirrored left to right. Mirroring precedes resizing, as in the
            original: the grid is not symmetric, so the order changes pixels.
        resized: ``[2]`` int32, height and width in pixels of the resized window.
        corner: ``[2]`` int32, top and left of the rectangle in the resized window; below 0 where it begins outside.
    """

    encoded: tf.Tensor
    window: tf.Tensor
    mirrored: tf.Tensor
    resized: tf.Tensor
    corner: tf.Tensor


def decode_view(view: View, size: ImageSize, *, scaled: bool = False, border: Rgb | None = None) -> tf.Tensor:
    """The rectangle of ``size`` pixels that a view shows: ``[H, W, 3]`` float32 in 0..255.

    Args:
        view: The view.
        size: Size of the rectangle in pixels.
        scaled: Decode a JPEG at one of ``JPEG_RATIOS`` where the window is at least so many times as high and as wide
            as it is resized to. Other pixels result: each is the mean of several of the image, not one of them.
        border: Color of what the rectangle shows outside of the resized window; None if that never happens.
    """
    decode = partial(_decode_view, view, size, padded=border is not None)
    if scaled:
        fits = [tf.reduce_all(view.window[2:] >= ratio * view.resized) for ratio in JPEG_RATIOS]
        halvings = tf.where(_is_whole_jpeg(view.encoded), tf.reduce_sum(tf.cast(fits, tf.int32)), 0)
        decodings = [partial(_decode_view_scaled, view, size, ratio) for ratio in JPEG_RATIOS]
        image = tf.ensure_shape(tf.switch_case(halvings, [decode, *decodings]), [*sides_of(size), CHANNELS])
    else:
        image = decode()
    return image if border is None else tf.where(_shows_window(view, size), image, tf.constant(border))


def _shows_window(view: View, size: ImageSize) -> tf.Tensor:
    """A mask ``[H, W, 1]`` of the pixels of the rectangle that lie in the resized window."""
    places = (tf.range(side) + view.corner[axis] for axis, side in enumerate(sides_of(size)))
    rows, columns = ((place >= 0) & (place < view.resized[axis]) for axis, place in enumerate(places))
    return (rows[:, tf.newaxis] & columns)[..., tf.newaxis]


def _decode_view(view: View, size: ImageSize, *, padded: bool) -> tf.Tensor:
    extent = [*sides_of(size), CHANNELS]
    part = decode_window(view.encoded, view.window)
    part = tf.cond(view.mirrored, lambda: tf.reverse(part, [1]), lambda: part)
    resized = resize_bilinear_legacy(part, view.resized[0], view.resized[1])
    resized, corner = _with_margin(resized, view.corner, extent[:2]) if padded else (resized, view.corner)
    rectangle = tf.slice(resized, tf.pad(corner, [[0, 1]]), extent)
    return tf.ensure_shape(rectangle, extent)


def _with_margin(resized: tf.Tensor, corner: tf.Tensor, sides: list[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """A resized window with zeros around it as far as the rectangle at ``corner`` reaches, and the corner in that."""
    before = tf.maximum(-corner, 0)
    after = tf.maximum(corner + sides - tf.shape(resized)[:2], 0)
    return tf.pad(resized, tf.pad(tf.stack([before, after], axis=1), [[0, 1], [0, 0]])), corner + before


def _decode_view_scaled(view: View, size: ImageSize, ratio: int) -> tf.Tensor:
    """``decode_view`` from the pixels of a JPEG decoded at ``1 / ratio`` of its size, and of these only what is seen.

    Each output pixel is sampled where it lies in the image: pixel ``p`` has its center at ``p + 1/2``, which is at
    ``(p + 1/2) / ratio`` among the pixels of the smaller image.
    """
    begin, extent = tf.split(view.window, 2)
    step = tf.cast(extent, tf.float32) / tf.cast(view.resized, tf.float32)
    corner, last = tf.cast(view.corner, tf.float32) * step, tf.cast(view.corner + size - 1, tf.float32) * step
    turned = view.mirrored & tf.constant([False, True])
    # Of a mirrored view, the last column lies farthest to the left; it is sampled first, and the square turned after.
    start = tf.where(turned, tf.cast(extent - 1, tf.float32) - last, corner)
    start = (tf.cast(begin, tf.float32) + start + 0.5) / ratio  # of the samples, in pixels of the smaller image
    lowest = tf.cast(tf.floor(start - 0.5), tf.int32)  # of the two pixels that a sample lies between
    highest = tf.cast(tf.floor(start - 0.5 + (last - corner) / ratio), tf.int32) + 1
    first, end = tf.maximum(lowest, begin // ratio), tf.minimum(highest + 1, -(-(begin + extent) // ratio))
    window = tf.concat([first, end - first], axis=0)
    part = tf.io.decode_and_crop_jpeg(view.encoded, window, ratio=ratio, **JPEG_OPTIONS)
    scale = ratio / step
    square = tf.raw_ops.ScaleAndTranslate(
        images=part[tf.newaxis],
        size=[*sides_of(size)],
        scale=scale,
        translation=0.5 - (start - tf.cast(first, tf.float32)) * scale,
        kernel_type="triangle",
        antialias=False,
    )[0]
    return tf.cond(view.mirrored, lambda: tf.reverse(square, [1]), lambda: square)


def whole_view(encoded: tf.Tensor, size: ImageSize) -> View:
    """A view of the whole image, whatever its shape, stretched to ``size``."""
    window = tf.pad(image_shape(encoded), [[2, 0]])
    return View(encoded, window, tf.constant(False), tf.constant([*sides_of(size)]), tf.constant([0, 0]))


def in_proportion(view: View, size: ImageSize) -> View:
    """The view with its window resized in its own proportions, to fit into ``size``."""
    resized = resized_to_fit(tf.cast(view.window[2:], tf.int64), size, tf)
    return view._replace(resized=tf.cast(resized, tf.int32))


def random_window(
    shape: tf.Tensor, boxes: tf.Tensor, seed: tf.Tensor, spec: CropSpec, min_object_covered: float | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """A random part of an image, or the whole image if no part satisfies the spec.

    Args:
        shape: ``[2]`` int32, height and width in pixels.
        boxes: ``[G, 4]`` float32, ``[ymin, xmin, ymax, xmax]`` in [0, 1]; if there are none, the whole image is the
            box.
        seed: ``[2]`` integers.
        spec: Allowed areas and aspect ratios, and how often the image stays whole.
        min_object_covered: Smallest fraction of some box that the part covers.

    Returns:
        The part, ``[4]`` int32, ``[y, x, height, width]`` in pixels, and the same as a box, ``[4]`` float32.
    """
    begin, extent, box = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([shape, [CHANNELS]], axis=0),
        boxes[tf.newaxis],
        seed=seed,
        min_object_covered=min_object_covered,
        aspect_ratio_range=spec.aspect_ratio,
        area_range=spec.area,
        max_attempts=CROP_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    part, box = tf.concat([begin[:2], extent[:2]], axis=0), box[0, 0]
    if spec.skip_probability > 0:
        skip = tf.random.stateless_uniform([], seed + 1) < spec.skip_probability
        part = tf.where(skip, tf.pad(shape, [[2, 0]]), part)
        box = tf.where(skip, tf.constant([0.0, 0.0, 1.0, 1.0]), box)
    return part, box


def uniform_window(shape: tf.Tensor, seed: tf.Tensor, spec: CropSpec) -> tf.Tensor:
    """A random part of an image whose share of the area and whose logarithm of width over height are uniform.

    The first of ten parts that fit into the image is taken. If none does, it is the largest part in the middle whose
    aspect is allowed. Boxes are ignored.

    Args:
        shape: ``[2]`` int32, height and width in pixels.
        seed: ``[2]`` integers.
        spec: Allowed areas and aspect ratios.

    Returns:
        ``[4]`` int32, ``[y, x, height, width]`` in pixels.
    """
    height, width = tf.unstack(tf.cast(shape, tf.float32))
    (smallest, largest), (narrow, wide) = spec.area, spec.aspect_ratio
    drawn = tf.random.stateless_uniform([4, UNIFORM_ATTEMPTS], seed)
    area = height * width * (smallest + drawn[0] * (largest - smallest))
    aspect = tf.exp(math.log(narrow) + drawn[1] * (math.log(wide) - math.log(narrow)))
    heights, widths = tf.round(tf.sqrt(area / aspect)), tf.round(tf.sqrt(area * aspect))
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    tops, lefts = tf.floor(drawn[2] * (height - heights + 1)), tf.floor(drawn[3] * (width - widths + 1))
    parts = tf.cast(tf.stack([tops, lefts, heights, widths], axis=1), tf.int32)

    whole = tf.clip_by_value(width / height, narrow, wide)
    middle = tf.cast(
        tf.round(tf.stack([tf.minimum(height, width / whole), tf.minimum(width, height * whole)])), tf.int32
    )
    middle = tf.clip_by_value(middle, 1, shape)
    central = tf.concat([(shape - middle) // 2, middle], axis=0)
    return tf.where(tf.reduce_any(fits), parts[tf.argmax(tf.cast(fits, tf.int32))], central)


def cropped(view: View, part: tf.Tensor) -> View:
    """A part of a view; ``part`` as from ``random_window``, in pixels of the visible window."""
    top, left, height, width = tf.unstack(part)
    left = tf.where(view.mirrored, view.window[3] - left - width, left)
    return view._replace(window=tf.stack([view.window[0] + top, view.window[1] + left, height, width]))


def mirrored_if(view: View, mirror: tf.Tensor) -> View:
    """A view mirrored left to right if the scalar boolean ``mirror`` is true."""
    return view._replace(mirrored=tf.not_equal(view.mirrored, mirror))


def eval_view(encoded: tf.Tensor, size: int, crop: float = EVAL_CROP) -> View:
    """The view of the center that ``eval_preprocess`` decodes."""
    window = _window_of_limited_aspect(image_shape(encoded))
    resized = tf.stack(eval_resized_shape(window[2], window[3], size, crop))
    return View(encoded, window, tf.constant(False), resized, (resized - size) // 2)


def eval_preprocess(encoded: tf.Tensor, size: int, crop: float = EVAL_CROP) -> tf.Tensor:
    """The center of an image: shorter side to ``int(size / crop)``, then the middle ``size`` x ``size`` pixels.

    Returns ``[size, size, 3]`` float32, RGB in 0..255.
    """
    return decode_view(eval_view(encoded, size, crop), size)


def _window_of_limited_aspect(shape: tf.Tensor) -> tf.Tensor:
    """The window that limits the aspect ratio to 32: of a longer or wider image, only the center is visible.

    Resized as a whole, an image of 1 x 10,000 pixels would take 8 GB. All other images stay whole.
    """
    kept = tf.minimum(shape, MAX_EVAL_ASPECT * tf.reduce_min(shape))
    return tf.concat([(shape - kept) // 2, kept], axis=0)


def resized_side(size: int, crop: float) -> int:
    """The side in pixels of which a central crop of ``size`` pixels takes the share ``crop``, rounded down."""
    return int(size / crop + _ROUNDING)


def eval_resized_shape(
    height: tf.Tensor, width: tf.Tensor, size: int, crop: float = EVAL_CROP
) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width, in pixels, to which evaluation resizes an image before its central crop of ``size``.

    Both sides are multiplied in float32 by ``int(size / crop) / shorter side`` and truncated. Because the ratio is
    computed first, the shorter side may be one pixel short (255 instead of 256), as in the original, whose weights were
    evaluated on exactly these pixels. A side never gets smaller than ``size``; by default, that matters only below 7.
    """
    target = tf.constant(resized_side(size, crop), tf.float32)
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    ratio = target / tf.minimum(height, width)
    new_height, new_width = tf.cast(height * ratio, tf.int32), tf.cast(width * ratio, tf.int32)
    return tf.maximum(new_height, size), tf.maximum(new_width, size)
