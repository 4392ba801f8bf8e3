"""Runs a task's ordered augmentation steps: geometric ones before an image is decoded, photometric ones after.

The decoder, TensorFlow or DALI, takes a ``View`` and returns a square. Each step has its own seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from utils.image_processing import View
from utils.input.augmentation_specs import (
    AugmentationStep,
    AutoAugmentSpec,
    BlurSpec,
    ColorSpec,
    ErasingSpec,
    GraySpec,
)
from utils.input.auto_augment import auto_augment
from utils.input.pixel_steps import random_blur, random_erasing, random_gray

Steps = tuple[AugmentationStep, ...]
ChangePixels = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True, slots=True)
class GeometricStep:
    """A step that changes the view of an image and, with it, the objects that the task knows in it.

    Attributes:
        apply: Function of a view, the objects, a ``[2]`` seed and the step's spec that returns view and objects.
    """

    apply: Callable[[View, Any, tf.Tensor, Any], tuple[View, Any]]


@dataclass(frozen=True, slots=True)
class PhotometricStep:
    """A step that changes the pixels of the decoded square, which are far fewer than those of the image.

    Attributes:
        apply: Function of ``[S, S, 3]`` float32 in 0..255, a ``[2]`` seed and the step's spec that returns the changed
            square.
    """

    apply: Callable[[tf.Tensor, tf.Tensor, Any], tf.Tensor]


StepTable = Mapping[type[AugmentationStep], GeometricStep | PhotometricStep]
"""The functions of a task by type of step."""


def augment_view(view: View, objects: Any, seed: tf.Tensor, steps: Steps, table: StepTable) -> tuple[View, Any]:
    """Applies the geometric steps among ``steps`` in order.

    Args:
        view: View of the whole image.
        objects: The objects in the image, in the form that the task's steps take.
        seed: ``[2]`` integers.
        steps: The steps.
        table: The task's function for each step.

    Returns:
        The part to decode and the objects that are still visible.
    """
    for step, step_seed in _with_seeds(steps, seed):
        row = table[type(step)]
        if isinstance(row, GeometricStep):
            view, objects = row.apply(view, objects, step_seed, step)
    return view, objects


def pixel_change(steps: Steps, table: StepTable) -> ChangePixels | None:
    """A function that applies the photometric steps among ``steps`` in order; None if there are none.

    The function takes a square and the seed of ``augment_view``.
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
    """Changes brightness, saturation, hue and contrast, and clips to the range of pixels after each."""
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


PHOTOMETRIC_STEPS: StepTable = {
    ColorSpec: PhotometricStep(_distort_colors),
    AutoAugmentSpec: PhotometricStep(auto_augment),
    GraySpec: PhotometricStep(random_gray),
    BlurSpec: PhotometricStep(random_blur),
    ErasingSpec: PhotometricStep(random_erasing),
}
"""The steps shared by all tasks."""
