"""The augmentation steps and their default order in both tasks (no TF).

This module defines the type of each step and its place in the order. Tables elsewhere hold the functions:
``utils/input/augmentation.py`` for colors, and for geometry ``utils/input/labelled_images.py`` (classification) and
``object_detection/preprocessing.py`` (detection).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CropSpec:
    """Limits of a random crop.

    Attributes:
        min_object_covered: Smallest fraction of some box that the crop covers.
        aspect_ratio: Smallest and largest width over height.
        area: Smallest and largest fraction of the image.
        overlap: In detection, a box stays if at least this fraction of it lies inside; 0 keeps every sliver.
        clip_boxes: Clip the boxes that stay to the crop.
        skip_probability: Probability that the image stays whole.
    """

    min_object_covered: float = 0.0
    aspect_ratio: tuple[float, float] = (0.75, 3.0)
    area: tuple[float, float] = (0.75, 1.0)
    overlap: float = 0.0
    clip_boxes: bool = True
    skip_probability: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipSpec:
    """A left-to-right flip with probability 1/2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorSpec:
    """Limits of a random distortion of the colors of an image in [0, 1].

    Attributes:
        brightness: Largest amount added or subtracted.
        saturation: Smallest and largest factor.
        hue: Largest shift, as a fraction of the hue circle.
        contrast: Smallest and largest factor.
        ordering: 0 for brightness, saturation, hue, contrast; 1 for brightness, contrast, saturation, hue.
    """

    brightness: float = 32 / 255
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 0.2
    contrast: tuple[float, float] = (0.5, 1.5)
    ordering: int = 0


AugmentationStep = CropSpec | FlipSpec | ColorSpec

DETECTION_STEPS: tuple[AugmentationStep, ...] = (FlipSpec(), CropSpec(), ColorSpec())
"""The steps for detection without a pipeline config."""


def classification_steps(*, min_crop_area: float, color_jitter: float) -> tuple[AugmentationStep, ...]:
    """The steps for classification.

    Args:
        min_crop_area: Smallest fraction of an image that its crop may cover.
        color_jitter: Strength of ``jitter``; 0 omits the step.
    """
    crop = CropSpec(min_object_covered=0.1, aspect_ratio=(3 / 4, 4 / 3), area=(min_crop_area, 1.0))
    return (crop, FlipSpec(), *([jitter(color_jitter)] if color_jitter else []))


def jitter(strength: float) -> ColorSpec:
    """A distortion of brightness, saturation and contrast, not hue; a strength of 0.5 matches that of detection.

    Args:
        strength: Above 0 and at most 1. At 1, the factors of saturation and contrast range from 0 to 2.
    """
    factors = (1.0 - strength, 1.0 + strength)
    return ColorSpec(brightness=64 / 255 * strength, saturation=factors, hue=0.0, contrast=factors)
