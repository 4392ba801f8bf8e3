"""Runs a task's ordered augmentation steps: geometric ones before an image is decoded, photometric ones after.

The decoder, TensorFlow or DALI, takes a ``View`` and returns an image of the size of the network's input. Each step has
its own seed.
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
from utils.weights.pretrained_config import Rgb

Steps = tuple[AugmentationStep, ...]
ChangePixels = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
ChangeImage = Callable[[tf.Tensor, tf.Tensor, Any], tf.Tensor]


@dataclass(frozen=True, slots=True)
class GeometricStep:
    """A step that changes the view of an image and, with it, the objects that the task knows in it.

    Attributes:
        apply: Function of a view, the objects, a ``[2]`` seed and the step's spec that returns view and objects.
        move: Moves the pixels of the decoded image, of any type, as ``apply`` moves the objects; after such a step no
            other may change the view.
    """

    apply: Callable[[View, Any, tf.Tensor, Any], tuple[View, Any]]
    move: ChangeImage | None = None


@dataclass(frozen=True, slots=True)
class PhotometricStep:
    """A step that changes the pixels of the decoded image, which are far fewer than those of the file.

    Attributes:
        apply: Function of ``[H, W, 3]`` float32 in 0..255, a ``[2]`` seed and the step's spec that returns the changed
            image.
    """

    apply: ChangeImage


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


def pixel_change(steps: Steps, table: StepTable, border: Rgb | None = None) -> ChangePixels | None:
    """A function that changes the decoded image as the ``steps`` say, in order; None if they leave it as it is.

    The function takes an image and the seed of ``augment_view``. Pixels of the color ``border`` keep it.
    """
    rows = [table[type(step)] for step in steps]
    if not any(isinstance(row, PhotometricStep) or row.move is not None for row in rows):
        return None

    def change(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        for (step, step_seed), row in zip(_with_seeds(steps, seed), rows, strict=True):
            if isinstance(row, PhotometricStep):
                changed = row.apply(image, step_seed, step)
                image = changed if border is None else tf.where(_is_color(image, border), image, changed)
            elif row.move is not None:
                image = row.move(image, step_seed, step)
        return image

    return change


def moved_pixels(image: tf.Tensor, seed: tf.Tensor, steps: Steps, table: StepTable) -> tf.Tensor:
    """A map ``[H, W, C]`` of a view, moved as the steps move the pixels of its image."""
    for step, step_seed in _with_seeds(steps, seed):
        row = table[type(step)]
        if isinstance(row, GeometricStep) and row.move is not None:
            image = row.move(image, step_seed, step)
    return image


def _is_color(image: tf.Tensor, color: Rgb) -> tf.Tensor:
    """A mask ``[H, W, 1]`` of the pixels of exactly this color."""
    return tf.reduce_all(tf.equal(image, tf.constant(color)), axis=2, keepdims=True)


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
