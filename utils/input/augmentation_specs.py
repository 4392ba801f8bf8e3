"""The augmentation steps and their default order in both tasks (no TF).

This module defines the type of each step and its place in the order. Tables elsewhere hold the functions:
``utils/input/augmentation.py`` for pixels, and for geometry ``utils/input/labelled_images.py`` (classification) and
``object_detection/augmentation/preprocessing.py`` (detection).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from utils.augment_config import NO_POLICY, TENSORFLOW, TRIVIAL, AugmentConfig
from utils.image_sizes import ImageSize
from utils.object_augment_config import ObjectAugmentConfig


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
        sampling: In classification, "uniform" draws the area and the logarithm of the aspect uniformly and ignores
            boxes. "tensorflow" draws crops whose areas are smaller on average.
    """

    min_object_covered: float = 0.0
    aspect_ratio: tuple[float, float] = (0.75, 3.0)
    area: tuple[float, float] = (0.75, 1.0)
    overlap: float = 0.0
    clip_boxes: bool = True
    skip_probability: float = 0.0
    sampling: str = TENSORFLOW


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoAugmentSpec:
    """Operations of a policy, drawn for each image; ``utils/input/auto_augment.py`` lists them.

    Attributes:
        policy: "trivial" or "rand".
        ops: Operations that "rand" draws.
        magnitude: Mean of their magnitudes, 0 to 10.
        std: Standard deviation of their magnitudes.
    """

    policy: str
    ops: int = 1
    magnitude: float = 0.0
    std: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GraySpec:
    """Removes the colors of a share of the images."""

    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BlurSpec:
    """Blurs a share of the images.

    Attributes:
        probability: The share.
        sigma: Smallest and largest standard deviation of the Gaussian in pixels.
    """

    probability: float
    sigma: tuple[float, float] = (0.1, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasingSpec:
    """Covers a rectangle of a share of the images with the mean color.

    Attributes:
        probability: The share.
        area: Smallest and largest fraction of the image.
        aspect_ratio: Smallest and largest height over width.
    """

    probability: float
    area: tuple[float, float] = (0.02, 0.33)
    aspect_ratio: tuple[float, float] = (0.3, 3.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSpec:
    """Keeps the proportions of the part of the image that is seen; no later step chooses another part.

    Attributes:
        size: Size of the network's input, which the part fits into.
    """

    size: ImageSize


@dataclass(frozen=True, slots=True, kw_only=True)
class VerticalFlipSpec:
    """A top-to-bottom flip with probability 1/2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateSpec:
    """A counterclockwise rotation by a random number of quarter turns; needs square images.

    Attributes:
        turns: The numbers of quarter turns to choose from, each as likely.
    """

    turns: tuple[int, ...] = (0, 1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSpec:
    """A random size of the whole image: a larger one is cut to the input's size, a smaller one gets a border.

    Attributes:
        scale: Smallest and largest factor of the height and width that the image has in the network's input.
        min_visible: An object stays if at least this share of its box lies inside; 0 keeps every sliver.
        size: Size of the network's input if the image need not fill it; None if it does.
    """

    scale: tuple[float, float]
    min_visible: float = 0.0
    size: ImageSize | None = None

    @property
    def pads(self) -> bool:
        """True if an image may get a border."""
        return self.scale[0] < 1.0


PixelStep = ColorSpec | AutoAugmentSpec | GraySpec | BlurSpec | ErasingSpec
ViewStep = CropSpec | FlipSpec | FitSpec
ObjectStep = VerticalFlipSpec | RotateSpec | ScaleSpec
AugmentationStep = ViewStep | PixelStep | ObjectStep

DETECTION_STEPS: tuple[AugmentationStep, ...] = (FlipSpec(), CropSpec(), ColorSpec())
"""The steps for detection without a pipeline config."""


def detection_steps(
    base: tuple[AugmentationStep, ...],
    augment: ObjectAugmentConfig,
    *,
    random_erasing: float,
    fit: ImageSize | None = None,
) -> tuple[AugmentationStep, ...]:
    """The steps for detection: those of a pipeline config or the usual ones, and those of flags.

    Steps that fit, scale and turn what is seen follow all steps that choose it.

    Args:
        base: The steps without the flags.
        augment: The flags; ``scale_jitter`` replaces crops.
        random_erasing: Share of the images that lose a rectangle.
        fit: Size of the network's input if images keep their proportions in it; None if they fill it.
    """
    late: list[AugmentationStep] = [] if fit is None else [FitSpec(size=fit)]
    if augment.scale_jitter is not None:
        late += [ScaleSpec(scale=augment.scale_jitter, min_visible=augment.min_visible, size=fit)]
        base = tuple(step for step in base if not isinstance(step, CropSpec))
    late += [step for step in base if isinstance(step, VerticalFlipSpec | RotateSpec)]
    late += [VerticalFlipSpec()] * augment.vertical_flip + [RotateSpec()] * augment.rotate90
    steps = [_cut(step, augment) for step in base if not isinstance(step, VerticalFlipSpec | RotateSpec)]
    after = max((place for place, step in enumerate(steps, 1) if isinstance(step, CropSpec | FlipSpec)), default=0)
    erasing = [ErasingSpec(probability=random_erasing)] if random_erasing else []
    return (*steps[:after], *late, *steps[after:], *erasing)


def _cut(step: AugmentationStep, augment: ObjectAugmentConfig) -> AugmentationStep:
    """A step of detection; a crop as the flags want it."""
    return replace(step, overlap=max(step.overlap, augment.min_visible)) if isinstance(step, CropSpec) else step


def classification_steps(
    *, min_crop_area: float, color_jitter: float, augment: AugmentConfig | None = None
) -> tuple[AugmentationStep, ...]:
    """The steps for classification.

    Args:
        min_crop_area: Smallest fraction of an image that its crop may cover.
        color_jitter: Strength of ``jitter``; 0 omits the step.
        augment: The other steps; None omits them.
    """
    augment = augment or AugmentConfig()
    crop = CropSpec(
        min_object_covered=0.1,
        aspect_ratio=(1 / augment.crop_aspect, augment.crop_aspect),
        area=(min_crop_area, augment.max_crop_area),
        sampling=augment.crop_sampling,
    )
    policy, late = _policy(augment), _late_steps(augment)
    return (crop, FlipSpec(), *policy, *([jitter(color_jitter)] if color_jitter else []), *late)


def _policy(augment: AugmentConfig) -> tuple[AugmentationStep, ...]:
    if augment.auto_augment == NO_POLICY:
        return ()
    if augment.auto_augment == TRIVIAL:
        return (AutoAugmentSpec(policy=TRIVIAL),)
    ops, magnitude, std = augment.rand_ops, augment.rand_magnitude, augment.rand_std
    return (AutoAugmentSpec(policy=augment.auto_augment, ops=ops, magnitude=magnitude, std=std),)


def _late_steps(augment: AugmentConfig) -> tuple[AugmentationStep, ...]:
    """The steps after the colors."""
    steps = (
        GraySpec(probability=augment.gray),
        BlurSpec(probability=augment.blur),
        ErasingSpec(probability=augment.random_erasing),
    )
    return tuple(step for step in steps if step.probability)


def jitter(strength: float) -> ColorSpec:
    """A distortion of brightness, saturation and contrast, not hue; a strength of 0.5 matches that of detection.

    Args:
        strength: Above 0 and at most 1. At 1, the factors of saturation and contrast range from 0 to 2.
    """
    factors = (1.0 - strength, 1.0 + strength)
    return ColorSpec(brightness=64 / 255 * strength, saturation=factors, hue=0.0, contrast=factors)
