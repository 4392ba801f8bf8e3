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


@dataclass(frozen=True, slots=True)
class Amount:
    """The amount of an operation, ``start + direction * step * magnitude``.

    Attributes:
        start: Amount at a magnitude of 0.
        step: Change for each unit of the magnitude.
        direction: 1 or -1; 0 for either of them at random.
        whole: The change is rounded down to a whole number, after ``step`` has been multiplied.
        of_side: ``step`` is a fraction of the side of the image.
    """

    start: float = 0.0
    step: float = 0.0
    direction: int = 0
    whole: bool = False
    of_side: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """The operations among which a policy draws.

    Attributes:
        operations: The amount of each operation, by name, from the policy's magnitude.
        fill: Geometric operations interpolate and fill what comes in from outside with this color. If it is None, they
            take the nearest pixel and fill with black, and translations are of whole pixels.
    """

    operations: Mapping[str, Amount]
    fill: tuple[float, ...] | None


_ENHANCEMENTS = ("brightness", "color", "contrast", "sharpness")

POLICIES: Mapping[str, Policy] = {
    TRIVIAL: Policy(
        operations={
            "identity": Amount(),
            "shear_x": Amount(step=0.99),
            "shear_y": Amount(step=0.99),
            "translate_x": Amount(step=32.0, whole=True),
            "translate_y": Amount(step=32.0, whole=True),
            "rotate": Amount(step=135.0),
            **dict.fromkeys(_ENHANCEMENTS, Amount(start=1.0, step=0.99)),
            "posterize": Amount(start=8.5, step=6.0, direction=-1),  # rounded by the operation
            "solarize": Amount(start=255.0, step=255.0, direction=-1),
            "auto_contrast": Amount(),
            "equalize": Amount(),
        },
        fill=None,
    ),
    RAND: Policy(
        operations={
            "auto_contrast": Amount(),
            "equalize": Amount(),
            "invert": Amount(),
            "rotate": Amount(step=3.0),
            "posterize": Amount(start=4.0, step=0.4, direction=-1, whole=True),
            "solarize": Amount(start=256.0, step=25.6, direction=-1, whole=True),
            "solarize_add": Amount(step=11.0, direction=1, whole=True),
            **dict.fromkeys(_ENHANCEMENTS, Amount(start=1.0, step=0.09)),
            "shear_x": Amount(step=0.03),
            "shear_y": Amount(step=0.03),
            "translate_x": Amount(step=0.045, of_side=True),
            "translate_y": Amount(step=0.045, of_side=True),
        },
        fill=tuple(float(round(mean)) for mean in MEAN_RGB),
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
    policy, image = POLICIES[spec.policy], tf.round(image)
    branches = list(operations(policy).values())
    for own in [seed] if spec.ops == 1 else tf.unstack(tf.random.split(seed, spec.ops)):
        number, amount = draw(own, spec, image.shape[0])
        changed = tf.switch_case(number, [partial(branch, image, amount) for branch in branches])
        image = tf.ensure_shape(changed, image.shape)
    return image


def draw(seed: tf.Tensor, spec: AutoAugmentSpec, side: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The number of an operation among those of ``operations``, and its amount: scalars int32 and float32."""
    amounts = list(POLICIES[spec.policy].operations.values())
    which, strength, direction, chance = tf.unstack(tf.random.stateless_uniform([4], seed))
    number = tf.cast(which * len(amounts), tf.int32)
    if spec.policy == TRIVIAL:
        magnitude = tf.floor(strength * TRIVIAL_BINS) / (TRIVIAL_BINS - 1)
    else:
        magnitude = tf.random.stateless_normal([], seed + 1, mean=spec.magnitude, stddev=spec.std)
        magnitude = tf.clip_by_value(magnitude, 0.0, LARGEST_MAGNITUDE)
    rows = [(row.start, row.step * (side if row.of_side else 1), row.direction, row.whole) for row in amounts]
    start, step, fixed, whole = tf.unstack(tf.gather(tf.constant(rows, tf.float32), number))
    change = step * magnitude
    change = tf.where(whole > 0, tf.floor(change), change)
    sign = tf.where(tf.equal(fixed, 0.0), tf.where(direction < 0.5, -1.0, 1.0), fixed)
    if spec.policy == RAND:
        number = tf.where(chance < RAND_PROBABILITY, number, len(amounts))
    return number, start + sign * change


def operations(policy: Policy) -> dict[str, Apply]:
    """The operations of a policy by name and, at their end, the one that changes nothing."""
    known: dict[str, Apply] = {
        "identity": lambda image, amount: image,
        "brightness": pixels.brightness,
        "color": pixels.color,
        "contrast": pixels.contrast,
        "sharpness": pixels.sharpness,
        "posterize": lambda image, amount: pixels.posterize(image, tf.floor(amount)),
        "solarize": pixels.solarize,
        "solarize_add": pixels.solarize_add,
        "invert": lambda image, amount: pixels.invert(image),
        "auto_contrast": lambda image, amount: pixels.auto_contrast(image),
        "equalize": lambda image, amount: pixels.equalize(image),
        **{name: partial(_moved, policy, name) for name in MATRICES},
    }
    return {**{name: known[name] for name in policy.operations}, "unchanged": known["identity"]}


def _moved(policy: Policy, name: str, image: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    if policy.fill is None and name in TRANSLATIONS:
        right, down = TRANSLATIONS[name]
        return pixels.translate(image, right * amount, down * amount, int(policy.operations[name].step))
    numbers = MATRICES[name](tf.cast(amount, tf.float64), image.shape[0])
    matrix = [tf.convert_to_tensor(number, tf.float64) for number in numbers]
    if policy.fill is None:
        return pixels.affine_nearest(image, matrix)
    return pixels.affine_bilinear(image, matrix, policy.fill)


def _rotation(degrees: tf.Tensor, side: int) -> tuple[tf.Tensor | float, ...]:
    """Counter-clockwise about the center."""
    angle, center = degrees * (-math.pi / 180.0), side / 2.0
    cosine, sine = tf.cos(angle), tf.sin(angle)
    right, down = center - (cosine + sine) * center, center - (cosine - sine) * center
    return cosine, sine, right, -sine, cosine, down


TRANSLATIONS = {"translate_x": (1, 0), "translate_y": (0, 1)}
"""The directions of the translations, right and down, in which each pixel's source lies."""

MATRICES: Mapping[str, Callable[[tf.Tensor, int], tuple[tf.Tensor | float, ...]]] = {
    "shear_x": lambda amount, side: (1.0, amount, 0.0, 0.0, 1.0, 0.0),
    "shear_y": lambda amount, side: (1.0, 0.0, 0.0, amount, 1.0, 0.0),
    "translate_x": lambda amount, side: (1.0, 0.0, amount, 0.0, 1.0, 0.0),
    "translate_y": lambda amount, side: (1.0, 0.0, 0.0, 0.0, 1.0, amount),
    "rotate": _rotation,
}
"""The six numbers of ``pixel_operations.Matrix`` for each geometric operation, from its amount and the side."""
