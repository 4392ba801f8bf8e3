"""The photometric steps of recipes for classifiers that act on a share of the images: gray, blurred, erased."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from utils.image_processing import CHANNELS
from utils.input.augmentation_specs import BlurSpec, ErasingSpec, GraySpec
from utils.input.pixel_operations import gray, in_rows
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
    size = image.shape[0]
    drawn = tf.random.stateless_uniform([4, ERASING_ATTEMPTS], seed + 1)
    area = size * size * (spec.area[0] + drawn[0] * (spec.area[1] - spec.area[0]))
    low, high = (math.log(ratio) for ratio in spec.aspect_ratio)
    aspect = tf.exp(low + drawn[1] * (high - low))
    height, width = tf.round(tf.sqrt(area * aspect)), tf.round(tf.sqrt(area / aspect))
    fits = (height < size) & (width < size)
    first = tf.argmax(tf.cast(fits, tf.int32))
    top, left = tf.floor(drawn[2] * (size - height + 1)), tf.floor(drawn[3] * (size - width + 1))

    def within(start: tf.Tensor, extent: tf.Tensor) -> tf.Tensor:
        places = tf.range(size, dtype=tf.float32)
        return tf.cast((places >= start[first]) & (places < start[first] + extent[first]), tf.float32)

    columns = tf.repeat(within(left, width) * tf.cast(fits[first], tf.float32), CHANNELS)

    def erase() -> tf.Tensor:
        covered = within(top, height)[:, tf.newaxis] * columns
        erased = in_rows(image) * (1.0 - covered) + covered * tf.tile(tf.constant(MEAN_RGB), [size])
        return tf.reshape(erased, image.shape)

    return _sometimes(image, seed, spec.probability, erase)


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
