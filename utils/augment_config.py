"""Augmentation of classifiers beyond crops, flips and colors: flags of recipes, all off by default. No TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from utils.errors import require

NO_POLICY, TRIVIAL, RAND = "none", "trivial", "rand"
POLICIES = (NO_POLICY, TRIVIAL, RAND)
TENSORFLOW, UNIFORM = "tensorflow", "uniform"
SAMPLERS = (TENSORFLOW, UNIFORM)

MOST_OPERATIONS = 10
MOST_REPEATS = 100
LARGEST_MAGNITUDE = 10
LARGEST_ASPECT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Random changes of training images in addition to those of ``DataConfig``.

    Attributes:
        auto_augment: The policy: "none", "trivial" (TrivialAugment) or "rand" (RandAugment).
        rand_ops: Operations that RandAugment draws for an image.
        rand_magnitude: Mean of their magnitudes, 0 to 10.
        rand_std: Standard deviation of their magnitudes.
        random_erasing: Share of the images that lose a rectangle.
        gray: Share of the images that lose their colors.
        blur: Share of the images that are blurred.
        max_crop_area: Largest fraction of an image that its crop may cover.
        crop_aspect: Largest ratio of a crop's sides, whichever of them is longer.
        crop_sampling: The sampler of crops: "tensorflow" or "uniform".
        repeated_augmentation: Times that an epoch holds each of its images, with other draws.

    Raises:
        UsageError: A value is out of range.
    """

    auto_augment: str = NO_POLICY
    rand_ops: int = 2
    rand_magnitude: float = 7.0
    rand_std: float = 0.5
    random_erasing: float = 0.0
    gray: float = 0.0
    blur: float = 0.0
    max_crop_area: float = 1.0
    crop_aspect: float = 4 / 3
    crop_sampling: str = TENSORFLOW
    repeated_augmentation: int = 1

    def __post_init__(self) -> None:
        require(self.auto_augment in POLICIES, "auto_augment", self.auto_augment, f"one of {', '.join(POLICIES)}")
        require(0 < self.rand_ops <= MOST_OPERATIONS, "rand_ops", self.rand_ops, f"1 to {MOST_OPERATIONS}")
        repeats = self.repeated_augmentation
        require(0 < repeats <= MOST_REPEATS, "repeated_augmentation", repeats, f"1 to {MOST_REPEATS}")
        for flag in ("rand_magnitude", "rand_std"):
            value: float = getattr(self, flag)
            ok = math.isfinite(value) and 0 <= value <= LARGEST_MAGNITUDE
            require(ok, flag, value, f"at least 0 and at most {LARGEST_MAGNITUDE}")
        for flag in ("random_erasing", "gray", "blur"):
            value = getattr(self, flag)
            require(math.isfinite(value) and 0 <= value <= 1, flag, value, "a probability, at least 0 and at most 1")
        require(0.0 < self.max_crop_area <= 1.0, "max_crop_area", self.max_crop_area, "above 0 and at most 1")
        require(
            1.0 <= self.crop_aspect <= LARGEST_ASPECT,
            "crop_aspect",
            self.crop_aspect,
            f"the ratio of the longer to the shorter side, at least 1 and at most {LARGEST_ASPECT}",
        )
        require(self.crop_sampling in SAMPLERS, "crop_sampling", self.crop_sampling, f"one of {', '.join(SAMPLERS)}")
