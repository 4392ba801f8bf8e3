"""Augmentation of detectors beyond crops, mirror images and colors: flags, all off by default. No TensorFlow."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from utils.errors import require

SMALLEST_SCALE, LARGEST_SCALE = 0.05, 4.0
_SCALES = f"MIN:MAX, two factors from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g} in ascending order, such as 0.1:2.0"

Scales = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectAugmentConfig:
    """Random changes of training images and their boxes in addition to the steps of ``DetectionConfig``.

    Attributes:
        vertical_flip: Flip half of the images top to bottom.
        rotate90: Turn images by a random number of quarter turns.
        min_visible: Smallest share of a box's area that a cut must leave, or the object is dropped.
        scale_jitter: Smallest and largest factor of the network's input to resize an image to; None does not.
        mosaic: Share of the images that show parts of three others.
        copy_paste: Share of the images into which objects of another one are pasted.

    Raises:
        UsageError: A value is out of range.
    """

    vertical_flip: bool = False
    rotate90: bool = False
    min_visible: float = 0.0
    scale_jitter: Scales | None = None
    mosaic: float = 0.0
    copy_paste: float = 0.0

    def __post_init__(self) -> None:
        for flag, what in (("min_visible", "a share"), ("mosaic", "a probability"), ("copy_paste", "a probability")):
            value: float = getattr(self, flag)
            require(math.isfinite(value) and 0 <= value <= 1, flag, value, f"{what}, at least 0 and at most 1")
        if self.scale_jitter is not None:
            low, high = self.scale_jitter
            fits = SMALLEST_SCALE <= low <= high <= LARGEST_SCALE
            require(fits, "scale_jitter", text_of_scales(self.scale_jitter), _SCALES)

    @property
    def mixes(self) -> bool:
        """True if images of a batch enter others."""
        return self.mosaic > 0 or self.copy_paste > 0


def scales_of_text(text: str) -> Scales:
    """The two factors in ``MIN:MAX``.

    Raises:
        UsageError: The text has another form.
    """
    number = r"\s*(\d{1,9}\.?\d{0,18}|\.\d{1,18})\s*"
    match = re.fullmatch(f"{number}:{number}", text, re.ASCII)
    require(match is not None, "scale_jitter", text or "''", _SCALES)
    return (float(match[1]), float(match[2])) if match is not None else (math.nan, math.nan)


def text_of_scales(scales: Scales | None) -> str | None:
    """The inverse of ``scales_of_text``; None without factors."""
    return None if scales is None else f"{scales[0]:g}:{scales[1]:g}"
