"""TrivialAugment and RandAugment: operations drawn for each image from its own seed.

Images are rounded to whole numbers first, as the published policies change 8-bit images.

Sources: Müller and Hutter, TrivialAugment, arXiv:2103.10158, table "wide"; Cubuk et al., RandAugment, arXiv:1909.13719,
with the ranges that grow with the magnitude and the probability of 0.5 of Wightman et al., arXiv:2110.00476.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import tensorflow as tf

from utils.augment_config import LARGEST_MAGNITUDE, RAND, TRIVIAL
from utils.input import pixel_operations as pixels
from utils.input.augmentation_specs import AutoAugmentSpec
from utils.weights.pretrained_config import MEAN_RGB

TRIVIAL_BINS = 31
RAND_PROBABILITY = 0.5

Apply = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""A function of an image and the amount of an operation."""
Amount = Callable[[tf.Tensor, tf.Tensor, int], tf.Tensor]
"""A function of a magnitude, a sign (-1 or 1) and the side of the image in pixels that returns an amount."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The operations among which a policy draws.

    Attributes:
        operations: The amount of each operation, by name, from the policy's magnitude.
        bilinear: Whether geometric operations interpolate; else they take the nearest pixel.
        fill: Color of what comes in from outside of the image.
    """

    operations: Mapping[str, Amount]
    bilinear: bool
    fill: tuple[float, float, float]


def _signed(factor: float) -> Amount:
    return lambda magnitude, sign, side: factor * magnitude * sign


def _around_one(factor: float) -> Amount:
    return lambda magnitude, sign, side: 1.0 + factor * magnitude * sign


def _none(magnitude: tf.Tensor, sign: tf.Tensor, side: int) -> tf.Tensor:
    return tf.zeros([])


def _rand_translation(magnitude: tf.Tensor, sign: tf.Tensor, side: int) -> tf.Tensor:
    return 0.045 * magnitude * sign * side


_ENHANCEMENTS = ("brightness", "color", "contrast", "sharpness")

POLICIES: Mapping[str, Policy] = {
    TRIVIAL: Policy(
        operations={
            "identity": _none,
            "shear_x": _signed(0.99),
            "shear_y": _signed(0.99),
            "translate_x": lambda magnitude, sign, side: tf.floor(32.0 * magnitude) * sign,
            "translate_y": lambda magnitude, sign, side: tf.floor(32.0 * magnitude) * sign,
            "rotate": _signed(135.0),
            **{name: _around_one(0.99) for name in _ENHANCEMENTS},
            "posterize": lambda magnitude, sign, side: 8.0 - tf.round(6.0 * magnitude),
            "solarize": lambda magnitude, sign, side: 255.0 - 255.0 * magnitude,
            "auto_contrast": _none,
            "equalize": _none,
        },
        bilinear=False,
        fill=(0.0, 0.0, 0.0),
    ),
    RAND: Policy(
        operations={
            "auto_contrast": _none,
            "equalize": _none,
            "invert": _none,
            "rotate": _signed(3.0),
            "posterize": lambda magnitude, sign, side: 4.0 - tf.floor(0.4 * magnitude),
            "solarize": lambda magnitude, sign, side: 256.0 - tf.floor(25.6 * magnitude),
            "solarize_add": lambda magnitude, sign, side: tf.floor(11.0 * magnitude),
            **{name: _around_one(0.09) for name in _ENHANCEMENTS},
            "shear_x": _signed(0.03),
            "shear_y": _signed(0.03),
            "translate_x": _rand_translation,
            "translate_y": _rand_translation,
        },
        bilinear=True,
        fill=tuple(float(round(mean)) for mean in MEAN_RGB),  # type: ignore[arg-type]
    ),
}
"""Magnitudes are 0 to 1 for "trivial" and 0 to 10 for "rand"."""


def auto_augment(image: tf.Tensor, seed: tf.Tensor, spec: AutoAugmentSpec) -> tf.Tensor:
    """Applies the operations that a policy draws for an image.

    Args:
        image: ``[S, S, 3]`` float32 in 0..255.
        seed: ``[2]`` integers.
        spec: The policy.
    """
    policy = POLICIES[spec.policy]
    applied = list(operations(policy).values())
    image = tf.round(image)
    for own in tf.unstack(tf.random.split(seed, spec.ops)):
        number, amount = draw(own, spec, image.shape[0])
        branches = [partial(apply, image, amount) for apply in applied]
        image = tf.ensure_shape(tf.switch_case(number, branches), image.shape)
    return image


def draw(seed: tf.Tensor, spec: AutoAugmentSpec, side: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The number of an operation among those of ``operations``, and its amount: scalars int32 and float32."""
    policy = POLICIES[spec.policy]
    which, strength, direction, chance = tf.unstack(tf.random.stateless_uniform([4], seed))
    count = len(policy.operations)
    number = tf.minimum(tf.cast(which * count, tf.int32), count - 1)
    if spec.policy == TRIVIAL:
        magnitude = tf.floor(strength * TRIVIAL_BINS) / (TRIVIAL_BINS - 1)
    else:
        drawn = tf.random.stateless_normal([], seed + 1, mean=spec.magnitude, stddev=spec.std)
        magnitude = tf.clip_by_value(drawn, 0.0, LARGEST_MAGNITUDE)
        number = tf.where(chance < RAND_PROBABILITY, number, count)
    sign = tf.where(direction < 0.5, -1.0, 1.0)
    amounts = [amount(magnitude, sign, side) for amount in policy.operations.values()]
    return number, tf.gather(tf.stack([*amounts, tf.zeros([])]), number)


def operations(policy: Policy) -> dict[str, Apply]:
    """The operations of a policy by name and, at their end, the one that changes nothing."""
    known: dict[str, Apply] = {
        "identity": lambda image, amount: image,
        "brightness": pixels.brightness,
        "color": pixels.color,
        "contrast": pixels.contrast,
        "sharpness": pixels.sharpness,
        "posterize": pixels.posterize,
        "solarize": pixels.solarize,
        "solarize_add": pixels.solarize_add,
        "invert": lambda image, amount: pixels.invert(image),
        "auto_contrast": lambda image, amount: pixels.auto_contrast(image),
        "equalize": lambda image, amount: pixels.equalize(image),
        **{name: partial(_moved, policy, name) for name in MATRICES},
    }
    return {**{name: known[name] for name in policy.operations}, "unchanged": known["identity"]}


def _moved(policy: Policy, name: str, image: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    matrix = MATRICES[name](tf.cast(amount, tf.float64), image.shape[0])
    transform = pixels.affine_bilinear if policy.bilinear else pixels.affine_nearest
    return transform(image, [tf.convert_to_tensor(value, tf.float64) for value in matrix], policy.fill)


def _rotation(degrees: tf.Tensor, side: int) -> tuple[tf.Tensor | float, ...]:
    """Counter-clockwise about the center."""
    angle, center = degrees * (-math.pi / 180.0), side / 2.0
    cosine, sine = tf.cos(angle), tf.sin(angle)
    right, down = center - (cosine + sine) * center, center - (cosine - sine) * center
    return cosine, sine, right, -sine, cosine, down


MATRICES: Mapping[str, Callable[[tf.Tensor, int], tuple[tf.Tensor | float, ...]]] = {
    "shear_x": lambda amount, side: (1.0, amount, 0.0, 0.0, 1.0, 0.0),
    "shear_y": lambda amount, side: (1.0, 0.0, 0.0, amount, 1.0, 0.0),
    "translate_x": lambda pixels, side: (1.0, 0.0, pixels, 0.0, 1.0, 0.0),
    "translate_y": lambda pixels, side: (1.0, 0.0, 0.0, 0.0, 1.0, pixels),
    "rotate": _rotation,
}
"""The six numbers of ``pixel_operations.Matrix`` for each geometric operation, from its amount and the side."""
