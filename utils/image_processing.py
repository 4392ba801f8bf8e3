"""Decode, crop, resize, flip and normalize images: the only home of the mean, the standard deviation and the grid.

Images are RGB in the range 0..255 until ``normalize``, which runs once, inside a task's graph. ``H`` and ``W`` are the
height and width of the encoded image in pixels. All randomness is stateless: the same seed gives the same pixels.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

MEAN_RGB = (123.68, 116.28, 103.53)
STD_RGB = (58.395, 57.120, 57.385)
CHANNELS = 3
DETECTION_MEAN_RGB = (123.68, 116.779, 103.939)  # of slim's residual networks, which divide by nothing

MAX_CROP_AREA = 1.0
CROP_ASPECT_RANGE = (3 / 4, 4 / 3)  # width over height
MIN_OBJECT_COVERED = 0.1
CROP_ATTEMPTS = 100

# Evaluation resizes the shorter side to size * 256 / 224 and cuts out the center: 256 and 224 at the usual size.
EVAL_RESIZE, EVAL_CROP = 256, 224
MAX_EVAL_ASPECT = 32

JPEG_END = b"\xff\xd9"
JPEG_OPTIONS = {"channels": CHANNELS, "dct_method": "INTEGER_FAST", "fancy_upscaling": False}


def normalize(images: tf.Tensor) -> tf.Tensor:
    """Subtracts the mean of each channel and divides by its standard deviation.

    Args:
        images: ``[N, H, W, 3]`` float32, RGB in 0..255.
    """
    return subtract_mean(images, MEAN_RGB) / tf.constant(STD_RGB, dtype=images.dtype)


def subtract_mean(images: tf.Tensor, mean_rgb: tuple[float, float, float]) -> tf.Tensor:
    """Subtracts the mean of each channel, as networks want it whose first kernel was trained on the range of pixels."""
    return images - tf.constant(mean_rgb, dtype=images.dtype)


def resize_bilinear_legacy(image: tf.Tensor, height: Any, width: Any) -> tf.Tensor:
    """Resizes ``[H, W, 3]`` to ``[height, width, 3]`` float32; the one place where the sampling grid is chosen.

    Output pixel ``i`` samples the input at ``i * H / height``, without half-pixel centers, aligned corners or
    antialiasing: weights trained on this grid lose accuracy when they are evaluated on another.
    """
    resized = tf.raw_ops.ResizeBilinear(
        images=image[tf.newaxis], size=tf.stack([height, width]), align_corners=False, half_pixel_centers=False
    )
    return resized[0]


def decode_full(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a whole JPEG, PNG, BMP or single-frame GIF to ``[H, W, 3]`` uint8.

    Raises:
        tf.errors.InvalidArgumentError: at run time, when the bytes are none of these or end early.
    """
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, **JPEG_OPTIONS),
        lambda: tf.io.decode_png(encoded, channels=CHANNELS),
    )
    image.set_shape([None, None, CHANNELS])
    return image


def decode_and_random_crop(encoded: tf.Tensor, boxes: tf.Tensor, seed: tf.Tensor, min_area: float) -> tf.Tensor:
    """Decodes a random part of an image: ``[h, w, 3]`` uint8.

    The part covers ``min_area`` to all of the area, has an aspect ratio of 3/4 to 4/3 and, if there are boxes, covers
    at least a tenth of one; where 100 attempts find none, it is the whole image. Of a JPEG only that part is decoded.

    Differs from the original, which took the whole image for the box of an image without boxes and so never cut out
    less than a tenth of it, whatever the smallest area.

    Args:
        encoded: scalar bytes.
        boxes: ``[G, 4]`` float32, ``[ymin, xmin, ymax, xmax]`` in [0, 1]; G may be 0.
        seed: ``[2]`` integers.
        min_area: smallest share of the area, above 0 and at most 1.
    """

    def part_of_jpeg() -> tf.Tensor:
        begin, extent = _random_window(tf.io.extract_jpeg_shape(encoded), boxes, seed, min_area)
        return tf.io.decode_and_crop_jpeg(encoded, tf.concat([begin[:2], extent[:2]], axis=0), **JPEG_OPTIONS)

    def part_of_other() -> tf.Tensor:
        image = decode_full(encoded)
        begin, extent = _random_window(tf.shape(image), boxes, seed, min_area)
        return tf.slice(image, begin, extent)

    # A JPEG that ends early is decoded as a whole: else its upper parts would pass, and it be bad in some epochs only.
    is_whole_jpeg = tf.io.is_jpeg(encoded) & tf.equal(tf.strings.substr(encoded, -2, 2), JPEG_END)
    part = tf.cond(is_whole_jpeg, part_of_jpeg, part_of_other)
    part.set_shape([None, None, CHANNELS])
    return part


def _random_window(shape: tf.Tensor, boxes: tf.Tensor, seed: tf.Tensor, min_area: float) -> tuple[tf.Tensor, tf.Tensor]:
    """A random window as ``(begin, extent)``: ``[y, x, 0]`` and ``[height, width, -1]`` in pixels."""
    boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    # The sampling op refuses a whole image for one degenerate box, and records in the wild have such boxes.
    boxes = tf.boolean_mask(boxes, (ymin < ymax) & (xmin < xmax))
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        boxes[tf.newaxis],
        seed=seed,
        min_object_covered=tf.where(tf.size(boxes) > 0, MIN_OBJECT_COVERED, 0.0),
        aspect_ratio_range=CROP_ASPECT_RANGE,
        area_range=(min_area, MAX_CROP_AREA),
        max_attempts=CROP_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    return begin, extent


def train_preprocess(encoded: tf.Tensor, boxes: tf.Tensor, seed: tf.Tensor, size: int, min_area: float) -> tf.Tensor:
    """A random crop, mirrored left to right half of the time, then resized: ``[size, size, 3]`` float32 in 0..255.

    Mirroring comes before resizing, as in the original: the grid is not symmetric, so the order changes pixels.
    Arguments as in ``decode_and_random_crop``; ``size`` is the side of the result in pixels.
    """
    crop_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    part = decode_and_random_crop(encoded, boxes, crop_seed, min_area)
    part = tf.image.stateless_random_flip_left_right(part, flip_seed)
    image = resize_bilinear_legacy(part, size, size)
    image.set_shape([size, size, CHANNELS])
    return image


def eval_preprocess(encoded: tf.Tensor, size: int) -> tf.Tensor:
    """The center of an image: shorter side to ``int(size * 256 / 224)``, then the middle ``size`` x ``size`` pixels.

    Returns ``[size, size, 3]`` float32, RGB in 0..255.
    """
    image = _without_far_ends(decode_full(encoded))
    shape = tf.shape(image)
    height, width = eval_resized_shape(shape[0], shape[1], size)
    image = resize_bilinear_legacy(image, height, width)
    image = tf.slice(image, [(height - size) // 2, (width - size) // 2, 0], [size, size, CHANNELS])
    image.set_shape([size, size, CHANNELS])
    return image


def _without_far_ends(image: tf.Tensor) -> tf.Tensor:
    """Cuts an image longer than 32 times its width (or wider) down to that: only its center will be seen.

    Resized as a whole, an image of 1 x 10,000 pixels would take 8 GB. No other image is touched.
    """
    shape = tf.shape(image)[:2]
    kept = tf.minimum(shape, MAX_EVAL_ASPECT * tf.reduce_min(shape))
    begin = (shape - kept) // 2
    return tf.slice(image, [begin[0], begin[1], 0], [kept[0], kept[1], CHANNELS])


def eval_resized_shape(height: tf.Tensor, width: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width, in pixels, to which evaluation resizes an image before its central crop of ``size``.

    Both sides are multiplied in float32 by ``int(size * 256 / 224) / shorter side`` and truncated. The ratio comes
    first, so that the shorter side may end a pixel short (255 instead of 256), as in the original: its weights were
    evaluated on exactly these pixels. Where even ``size`` is not reached (only below 7), the side is ``size``.
    """
    target = tf.constant(size * EVAL_RESIZE // EVAL_CROP, tf.float32)
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    ratio = target / tf.minimum(height, width)
    new_height, new_width = tf.cast(height * ratio, tf.int32), tf.cast(width * ratio, tf.int32)
    return tf.maximum(new_height, size), tf.maximum(new_width, size)
