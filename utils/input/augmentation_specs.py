"""The steps of augmentation, and the ordered lists of them that the two tasks run (no TF).

A step has its type and its place in a list here. Its function is in a table elsewhere: of what changes colors, in
``utils/input/augmentation.py``; of geometry, in ``utils/input/labelled_images.py`` for classification and in
``object_detection/preprocessing.py`` for detection.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CropSpec:
    """Limits of a random crop.

    Attributes:
        min_object_covered: Part of some box that the crop covers at least.
        aspect_ratio: Least and largest width over height.
        area: Least and largest share of the image.
        overlap: A box of detection stays if at least so much of it lies inside; 0 keeps every sliver.
        clip_boxes: Cut the boxes that stay to the crop.
        skip_probability: How often the image stays whole.
    """

    min_object_covered: float = 0.0
    aspect_ratio: tuple[float, float] = (0.75, 3.0)
    area: tuple[float, float] = (0.75, 1.0)
    overlap: float = 0.0
    clip_boxes: bool = True
    skip_probability: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipSpec:
    """A mirror image, left to right, half of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorSpec:
    """Limits of a random distortion of the colors of an image in [0, 1].

    Attributes:
        brightness: Largest amount added or taken away.
        saturation: Least and largest factor.
        hue: Largest turn of the hue circle.
        contrast: Least and largest factor.
        ordering: 0 for brightness, saturation, hue, contrast; 1 for brightness, contrast, saturation, hue.
    """

    brightness: float = 32 / 255
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 0.2
    contrast: tuple[float, float] = (0.5, 1.5)
    ordering: int = 0


AugmentationStep = CropSpec | FlipSpec | ColorSpec

DETECTION_STEPS: tuple[AugmentationStep, ...] = (FlipSpec(), CropSpec(), ColorSpec())
"""Those of detection where no pipeline config says otherwise."""


def classification_steps(*, min_crop_area: float, color_jitter: float) -> tuple[AugmentationStep, ...]:
    """Those of classification.

    Args:
        min_crop_area: Smallest share of an image that its crop may cover.
        color_jitter: Strength of ``jitter``; 0 leaves the step out.
    """
    crop = CropSpec(min_object_covered=0.1, aspect_ratio=(3 / 4, 4 / 3), area=(min_crop_area, 1.0))
    return (crop, FlipSpec(), *([jitter(color_jitter)] if color_jitter else []))


def jitter(strength: float) -> ColorSpec:
    """Brightness, saturation and contrast, but no hue; a strength of 0.5 changes them as much as detection does.

    Args:
        strength: Above 0 and at most 1. At 1, saturation and contrast vary from none to twice as much.
    """
    factors = (1.0 - strength, 1.0 + strength)
    return ColorSpec(brightness=64 / 255 * strength, saturation=factors, hue=0.0, contrast=factors)
