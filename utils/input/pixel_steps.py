"""The photometric steps of recipes for classifiers that act on a share of the images: gray, blurred, erased."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from utils.image_processing import CHANNELS
from utils.input.augmentation_specs import BlurSpec, ErasingSpec, GraySpec
from utils.input.pixel_operations import gray
from utils.weights.pretrained_config import MEAN_RGB

ERASING_ATTEMPTS = 10
BLUR_PASSES = 3


def random_gray(image: tf.Tensor, seed: tf.Tensor, spec: GraySpec) -> tf.Tensor:
    """Replaces all channels by the luma."""
    return _sometimes(image, seed, spec.probability, lambda: tf.repeat(gray(image), CHANNELS, axis=2))


def random_blur(image: tf.Tensor, seed: tf.Tensor, spec: BlurSpec) -> tf.Tensor:
    """Blurs by a Gaussian of a random standard deviation."""
    low, high = spec.sigma
    sigma = low + (high - low) * tf.random.stateless_uniform([], seed + 1)
    return _sometimes(image, seed, spec.probability, lambda: blurred(image, sigma))


def random_erasing(image: tf.Tensor, seed: tf.Tensor, spec: ErasingSpec) -> tf.Tensor:
    """Covers a rectangle of random area, shape and place with the mean color, which the network sees as zero.

    Areas are uniform and so are the logarithms of the aspects. The first of ten rectangles that fits is taken; if none
    does, the image stays.

    Source: Zhong et al., Random Erasing Data Augmentation, arXiv:1708.04896.
    """
    sides = image.shape[:2]
    drawn = tf.random.stateless_uniform([4, ERASING_ATTEMPTS], seed + 1)
    area = sides[0] * sides[1] * (spec.area[0] + drawn[0] * (spec.area[1] - spec.area[0]))
    low, high = (math.log(ratio) for ratio in spec.aspect_ratio)
    aspect = tf.exp(low + drawn[1] * (high - low))
    height, width = tf.round(tf.sqrt(area * aspect)), tf.round(tf.sqrt(area / aspect))
    fits = (height < sides[0]) & (width < sides[1])
    first = tf.argmax(tf.cast(fits, tf.int32))
    top, left = tf.floor(drawn[2] * (sides[0] - height + 1)), tf.floor(drawn[3] * (sides[1] - width + 1))

    def erase() -> tf.Tensor:
        covered = rectangle(sides, (top[first], left[first]), (height[first], width[first]))
        return painted(image, covered * tf.cast(fits[first], tf.float32))

    return _sometimes(image, seed, spec.probability, erase)


def rectangle(
    sides: Sequence[int], begin: tuple[tf.Tensor, tf.Tensor], extent: tuple[tf.Tensor, tf.Tensor]
) -> tf.Tensor:
    """1 in a rectangle and 0 elsewhere, ``[H, 3 W]``: the channels of a pixel are side by side.

    Args:
        sides: Height and width of the image in pixels.
        begin: First row and column of the rectangle, float32; it may reach out of the image.
        extent: Its height and width.
    """

    def within(axis: int) -> tf.Tensor:
        places = tf.range(sides[axis], dtype=tf.float32)
        return tf.cast((places >= begin[axis]) & (places < begin[axis] + extent[axis]), tf.float32)

    return within(0)[:, tf.newaxis] * tf.repeat(within(1), CHANNELS)


def painted(image: tf.Tensor, covered: tf.Tensor) -> tf.Tensor:
    """``[H, W, 3]`` with the mean color where ``covered``, ``[H, 3 W]``, is 1; where it is 0 the pixels stay."""
    height, width = image.shape[:2]
    rows = tf.reshape(image, [height, width * CHANNELS])
    return tf.reshape(rows * (1.0 - covered) + covered * tf.tile(tf.constant(MEAN_RGB), [width]), image.shape)


def blurred(image: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """``[S, S, 3]`` blurred as by Pillow's GaussianBlur, within one grey level; pixels at the border repeat outwards.

    Three extended box filters approximate the Gaussian, rows and columns apart; each is a matrix product.

    Source: Gwosdek et al., Theoretical Foundations of Gaussian Convolution by Extended Box Filtering, 2011.
    """
    size = image.shape[0]
    once = _box_filter(size, sigma)
    for _ in range(BLUR_PASSES):
        image = tf.round(tf.matmul(once, image))
    image = tf.reshape(image, [size, size * CHANNELS])
    for _ in range(BLUR_PASSES):
        image = tf.round(once @ image)
    return tf.reshape(image, [size, size, CHANNELS])


def _box_filter(size: int, sigma: tf.Tensor) -> tf.Tensor:
    """``[size, size]``, one of the filters: a box whose two outermost pixels count in part."""
    variance = sigma * sigma / BLUR_PASSES
    whole = tf.floor((tf.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    numerator = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
    radius = whole + numerator / (6.0 * (variance - (whole + 1.0) ** 2))
    places = tf.range(size, dtype=tf.float32)
    reach = size  # more than any radius, so that all of the weight outside is found
    sources = tf.range(-reach, size + reach, dtype=tf.float32)
    weights = tf.clip_by_value(radius + 1.0 - tf.abs(places[:, tf.newaxis] - sources), 0.0, 1.0) / (2.0 * radius + 1.0)
    before = tf.reduce_sum(weights[:, :reach], axis=1)
    after = tf.reduce_sum(weights[:, reach + size :], axis=1)
    edges = tf.one_hot([0, size - 1], size)
    return weights[:, reach : reach + size] + before[:, tf.newaxis] * edges[0] + after[:, tf.newaxis] * edges[1]


def _sometimes(image: tf.Tensor, seed: tf.Tensor, probability: float, change: Callable[[], tf.Tensor]) -> tf.Tensor:
    """The changed image with a probability, else the image; the change is computed only if it is needed."""
    changes = tf.random.stateless_uniform([], seed) < probability
    return tf.ensure_shape(tf.cond(changes, change, lambda: image), image.shape)
