"""The definition of a detector beside its network: frozen values, as flags or a pipeline config give them (no TF).

Defaults are those of SSD320. Boxes are ``[ymin, xmin, ymax, xmax]`` in [0, 1] of the image's sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from utils.errors import require
from utils.input.augmentation_specs import DETECTION_STEPS, AugmentationStep

LARGEST_LOG = math.log(1000 / 16)  # of a box's side over its anchor's: what --clamp_decode allows


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorSpec:
    """The anchors on the cells of a feature pyramid.

    Attributes:
        min_level: First level l of the pyramid; its cells are 2^l pixels wide.
        max_level: Last level.
        scale: Side of a level's smallest square anchor, in cells.
        aspect_ratios: Width over height.
        scales_per_octave: Sizes between one level and the next: ``scale * 2^(i / scales_per_octave)``.
        centred: Put the anchors of every level in the middle of their cells.
    """

    min_level: int = 3
    max_level: int = 7
    scale: float = 4.0
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5)
    scales_per_octave: int = 2
    centred: bool = False

    @property
    def levels(self) -> range:
        return range(self.min_level, self.max_level + 1)

    @property
    def per_cell(self) -> int:
        """Anchors on one cell."""
        return len(self.aspect_ratios) * self.scales_per_octave


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxCoderSpec:
    """Constants of box codes.

    Attributes:
        y_scale: Factor of the shift along y.
        x_scale: Factor of the shift along x.
        height_scale: Factor of the logarithm of the height ratio.
        width_scale: Factor of the logarithm of the width ratio.
        largest_log: Decoding clamps the logarithm of a side ratio to this, or not at all (None).
    """

    y_scale: float = 10.0
    x_scale: float = 10.0
    height_scale: float = 5.0
    width_scale: float = 5.0
    largest_log: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MatcherSpec:
    """Rules by which an anchor is matched with a groundtruth box.

    Attributes:
        matched_threshold: At least so similar is a match.
        unmatched_threshold: Less than this is background; what lies between the two is ignored.
        negatives_lower_than_unmatched: False swaps those last two: what lies between is background, what is less,
            ignored.
        force_match: Each valid groundtruth box also gets the anchor that it overlaps most, however little.

    Raises:
        ValueError: The thresholds contradict each other.
    """

    matched_threshold: float = 0.5
    unmatched_threshold: float = 0.5
    negatives_lower_than_unmatched: bool = True
    force_match: bool = True

    def __post_init__(self) -> None:
        if self.unmatched_threshold > self.matched_threshold:
            raise ValueError(
                f"unmatched_threshold {self.unmatched_threshold}: must be at most matched_threshold "
                f"{self.matched_threshold}"
            )
        if not self.negatives_lower_than_unmatched and self.unmatched_threshold == self.matched_threshold:
            raise ValueError("negatives_lower_than_unmatched false: needs two different thresholds")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """Constants of the losses.

    Attributes:
        focal_alpha: Weight of positives, with ``1 - focal_alpha`` for negatives; None weighs neither.
        focal_gamma: Exponent of the modulating factor.
        huber_delta: Where the parabola of the localization loss becomes a line.
        classification_weight: Factor of the classification loss.
        localization_weight: Factor of the localization loss.
    """

    focal_alpha: float | None = 0.25
    focal_gamma: float = 2.0
    huber_delta: float = 1.0
    classification_weight: float = 1.0
    localization_weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PostProcessingSpec:
    """Constants of post-processing, which makes detections of predictions.

    Attributes:
        score_threshold: A detection's score is above this.
        iou_threshold: Of two boxes of a class that overlap more than this, the lower score goes.
        max_detections_per_class: What remains of a class at most.
        max_total_detections: D, what remains of an image at most.
        candidates: How many of an image's best (anchor, class) pairs go on to suppression; None for all of them.

    Raises:
        ValueError: A value is out of range.
    """

    score_threshold: float = 1e-8
    iou_threshold: float = 0.6
    max_detections_per_class: int = 100
    max_total_detections: int = 100
    candidates: int | None = 1000

    def __post_init__(self) -> None:
        if not math.isfinite(self.score_threshold):
            raise ValueError(f"score_threshold {self.score_threshold}: must be a number")
        if self.candidates is not None and self.candidates < 1:
            raise ValueError(f"candidates {self.candidates}: must be positive")
        if not 0.0 <= self.iou_threshold <= 1.0:
            raise ValueError(f"iou_threshold {self.iou_threshold}: must be at least 0 and at most 1")
        if not 0 < self.max_detections_per_class <= self.max_total_detections:
            raise ValueError(
                f"max_detections_per_class {self.max_detections_per_class}: must be positive and at most "
                f"max_total_detections {self.max_total_detections}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionConfig:
    """Everything that defines a detector beside its network.

    Attributes:
        augmentation: Steps in the order in which they are applied.
        exact_classes: One class slot for each category, instead of one for each id up to the largest and one unused
            for the background.
        train_crowds: Train boxes around crowds as if they were objects.
        batch_norm_decay: Share of a moving statistic that an update keeps: runs of less than some hundred steps need
            less of it, or the statistics are still their initial ones at the end.

    Raises:
        UsageError: A value is out of range.
    """

    anchors: AnchorSpec = field(default_factory=AnchorSpec)
    coder: BoxCoderSpec = field(default_factory=BoxCoderSpec)
    matcher: MatcherSpec = field(default_factory=MatcherSpec)
    losses: LossSpec = field(default_factory=LossSpec)
    post_processing: PostProcessingSpec = field(default_factory=PostProcessingSpec)
    augmentation: tuple[AugmentationStep, ...] = DETECTION_STEPS
    exact_classes: bool = False
    train_crowds: bool = False
    batch_norm_decay: float = 0.997

    def __post_init__(self) -> None:
        decay = self.batch_norm_decay
        require(0.0 <= decay < 1.0, "batch_norm_decay", decay, "at least 0 and below 1")
