"""The ordered list of augmentation steps of a task, run: geometry before an image is decoded, colors after it.

Whatever decodes the image, TensorFlow or DALI, gets a ``View`` and gives a square. Each step has a seed of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from utils.image_processing import View
from utils.input.augmentation_specs import AugmentationStep, ColorSpec

Steps = tuple[AugmentationStep, ...]
ChangePixels = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True, slots=True)
class GeometricStep:
    """A step that changes the view of an image, and with it what the task knows of the objects in it.

    Attributes:
        apply: From a view, the objects, a ``[2]`` seed and the step's spec, the view and the objects.
    """

    apply: Callable[[View, Any, tf.Tensor, Any], tuple[View, Any]]


@dataclass(frozen=True, slots=True)
class PhotometricStep:
    """A step that changes the pixels of the decoded square: a fraction of those of the image.

    Attributes:
        apply: From ``[S, S, 3]`` float32 in 0..255, a ``[2]`` seed and the step's spec, the same with other colors.
    """

    apply: Callable[[tf.Tensor, tf.Tensor, Any], tf.Tensor]


StepTable = Mapping[type[AugmentationStep], GeometricStep | PhotometricStep]
"""The functions of a task, by the types of steps."""


def augment_view(view: View, objects: Any, seed: tf.Tensor, steps: Steps, table: StepTable) -> tuple[View, Any]:
    """Applies the geometric ones of ``steps`` in their order.

    Args:
        view: Of the whole image.
        objects: What the image shows, as the task's steps take it.
        seed: ``[2]`` integers.
        steps: What to do.
        table: How the task does it.

    Returns:
        The part to decode, and the objects that are still to be seen.
    """
    for step, step_seed in _with_seeds(steps, seed):
        row = table[type(step)]
        if isinstance(row, GeometricStep):
            view, objects = row.apply(view, objects, step_seed, step)
    return view, objects


def pixel_change(steps: Steps, table: StepTable) -> ChangePixels | None:
    """A function of a square and the seed of ``augment_view`` that applies the photometric ones of ``steps`` in order.

    None where there are none.
    """
    if not any(isinstance(table[type(step)], PhotometricStep) for step in steps):
        return None

    def change(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        for step, step_seed in _with_seeds(steps, seed):
            row = table[type(step)]
            if isinstance(row, PhotometricStep):
                image = row.apply(image, step_seed, step)
        return image

    return change


def _with_seeds(steps: Steps, seed: tf.Tensor) -> list[tuple[AugmentationStep, tf.Tensor]]:
    return list(zip(steps, tf.unstack(tf.random.split(seed, len(steps))), strict=True)) if steps else []


def _distort_colors(image: tf.Tensor, seed: tf.Tensor, spec: ColorSpec) -> tf.Tensor:
    """Another brightness, saturation, hue and contrast, each clipped to the range of pixels."""
    brightness, saturation, hue, contrast = tf.unstack(tf.random.stateless_uniform([4], seed))

    def between(share: tf.Tensor, low: float, high: float) -> tf.Tensor:
        return low + share * (high - low)

    changes: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
        "brightness": lambda x: x + between(brightness, -spec.brightness, spec.brightness),
        "saturation": lambda x: tf.image.adjust_saturation(x, between(saturation, *spec.saturation)),
        "hue": lambda x: tf.image.adjust_hue(x, between(hue, -spec.hue, spec.hue)) if spec.hue else x,
        "contrast": lambda x: tf.image.adjust_contrast(x, between(contrast, *spec.contrast)),
    }
    orders = {
        0: ("brightness", "saturation", "hue", "contrast"),
        1: ("brightness", "contrast", "saturation", "hue"),
    }
    image = image / 255.0
    for name in orders[spec.ordering]:
        with tf.name_scope(name):
            image = tf.clip_by_value(changes[name](image), 0.0, 1.0)
    return image * 255.0


PHOTOMETRIC_STEPS: StepTable = {ColorSpec: PhotometricStep(_distort_colors)}
"""The steps that are the same for every task."""
