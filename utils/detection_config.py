"""The definition of a detector apart from its network: frozen values from flags or a pipeline config (no TF).

Defaults are those of SSD320. Boxes are ``[ymin, xmin, ymax, xmax]`` in [0, 1] of the image's sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from utils.errors import UsageError, require
from utils.input.augmentation_specs import DETECTION_STEPS, AugmentationStep
from utils.object_augment_config import ObjectAugmentConfig

LARGEST_LOG = math.log(1000 / 16)  # limit of --clamp_decode for the logarithm of a box side over its anchor's
SINGLE_SCALE = 8.0  # cells of --anchors_per_cell 1
TASK_ALIGNED = "task_aligned"
MATCHERS = ("iou", "atss", TASK_ALIGNED)
BOX_LOSSES = ("huber", "giou", "diou", "ciou")
CLASS_LOSSES = ("focal", "quality_focal")
SUPPRESSIONS = ("hard", "soft", "diou", "matrix")
NORMS = ("batch", "group")
STRETCH, PAD = "stretch", "pad"
RESIZES = (STRETCH, PAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorSpec:
    """The anchors on the cells of a feature pyramid.

    Attributes:
        min_level: First level l of the pyramid; its cells are 2^l pixels wide.
        max_level: Last level.
        scale: Side of a level's smallest square anchor, in cells.
        aspect_ratios: Width over height.
        scales_per_octave: Number of sizes on each level: ``scale * 2^(i / scales_per_octave)``.
        centred: Center the anchors of every level on their cells.
        single: One square anchor of ``SINGLE_SCALE`` cells on each cell, in place of all scales and ratios; None for
            the checkpoint's choice, else no.
    """

    min_level: int = 3
    max_level: int = 7
    scale: float = 4.0
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5)
    scales_per_octave: int = 2
    centred: bool = False
    single: bool | None = None

    @property
    def levels(self) -> range:
        return range(self.min_level, self.max_level + 1)

    @property
    def per_cell(self) -> int:
        """Number of anchors on each cell."""
        return len(self.shapes)

    @property
    def shapes(self) -> tuple[tuple[float, float], ...]:
        """Scale in cells and aspect ratio of each anchor on a cell."""
        if self.single:
            return ((SINGLE_SCALE, 1.0),)
        scales = [self.scale * 2 ** (i / self.scales_per_octave) for i in range(self.scales_per_octave)]
        return tuple((scale, ratio) for ratio in self.aspect_ratios for scale in scales)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxCoderSpec:
    """Constants of box codes.

    Attributes:
        y_scale: Factor of the shift along y.
        x_scale: Factor of the shift along x.
        height_scale: Factor of the logarithm of the height ratio.
        width_scale: Factor of the logarithm of the width ratio.
        largest_log: Decoding clamps the logarithm of a side ratio to this value; None does not clamp.
    """

    y_scale: float = 10.0
    x_scale: float = 10.0
    height_scale: float = 5.0
    width_scale: float = 5.0
    largest_log: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MatcherSpec:
    """Rules that match anchors with groundtruth boxes.

    Attributes:
        kind: "iou" for the thresholds below, "atss" for a threshold of each box (``object_detection.matching.atss``),
            "task_aligned" for the anchors whose predictions fit best (``object_detection.matching.task_aligned``).
        aligned_after: Share of the run in which "task_aligned" still matches as "atss" does.
        matched_threshold: An anchor matches a box if their overlap is at least this.
        unmatched_threshold: An anchor that overlaps less than this is background; one between the two is ignored.
        negatives_lower_than_unmatched: False swaps the last two: between the thresholds is background, below is
            ignored.
        force_match: Match each valid groundtruth box with the anchor that it overlaps most, however little.

    Raises:
        ValueError: The thresholds contradict each other.
    """

    kind: str = "iou"
    aligned_after: float = 0.33
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

    def aligned_from(self, total_steps: int) -> int:
        """The first step that "task_aligned" matches by predictions, in a run of ``total_steps`` steps."""
        return round(self.aligned_after * total_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSpec:
    """Heads whose variables only detectors trained with them have.

    Attributes:
        distribution: Predict the distance of each side of a box as a distribution over ``model.specs.BOX_BINS`` places,
            in place of a code (``object_detection.boxes.box_distribution``).
        centerness: Predict how central an anchor is in its box (``object_detection.boxes.centerness``).
    """

    distribution: bool = False
    centerness: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """The losses and their constants.

    Attributes:
        box_loss: "huber" compares codes; "giou", "diou" and "ciou" compare boxes
            (``object_detection.losses.box_losses``).
        class_loss: "focal", or "quality_focal" with the predicted box's overlap as the target of its class, or with the
            alignment where predictions match.
        focal_alpha: Weight of positives; negatives weigh ``1 - focal_alpha``. None weighs all alike.
        focal_gamma: Exponent of the modulating factor.
        huber_delta: Residual at which the localization loss turns from quadratic to linear.
        classification_weight: Factor of the classification loss.
        localization_weight: Factor of the localization loss.
        distribution_weight: Factor of the distribution focal loss.
        centerness_weight: Factor of the loss of centerness.
    """

    box_loss: str = "huber"
    class_loss: str = "focal"
    focal_alpha: float | None = 0.25
    focal_gamma: float = 2.0
    huber_delta: float = 1.0
    classification_weight: float = 1.0
    localization_weight: float = 1.0
    distribution_weight: float = 0.25
    centerness_weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PostProcessingSpec:
    """Constants of post-processing, which turns predictions into detections.

    Attributes:
        score_threshold: Detections score above this.
        suppression: The fate of a box that overlaps a better one: "hard" drops it above ``iou_threshold``, "diou" too,
            after a deduction for the distance of the centers; "soft" and "matrix" lower its score
            (``object_detection.postprocessing.score_decay``).
        class_agnostic: Boxes of different classes suppress each other too.
        soft_sigma: "soft" multiplies a score by ``exp(-overlap^2 / soft_sigma)``.
        iou_threshold: The overlap above which a box is dropped.
        max_detections_per_class: Most detections of a class; None for ``max_total_detections``.
        max_total_detections: D, most detections of an image.
        candidates: Number of an image's best (anchor, class) pairs that enter suppression; None for all.
        aspect: Width over height of the images, by which "diou" measures distances.

    Raises:
        ValueError: A value is out of range, or two contradict each other.
    """

    score_threshold: float = 1e-8
    suppression: str = "hard"
    class_agnostic: bool = False
    soft_sigma: float = 0.5
    iou_threshold: float = 0.6
    max_detections_per_class: int | None = None
    max_total_detections: int = 100
    candidates: int | None = 1000
    aspect: float = 1.0

    @property
    def of_class(self) -> int:
        """Most detections of a class."""
        return self.max_total_detections if self.max_detections_per_class is None else self.max_detections_per_class

    def __post_init__(self) -> None:
        if not math.isfinite(self.score_threshold):
            raise ValueError(f"score_threshold {self.score_threshold}: must be a number")
        if self.candidates is not None and self.candidates < 1:
            raise ValueError(f"candidates {self.candidates}: must be positive")
        if not 0.0 <= self.iou_threshold <= 1.0:
            raise ValueError(f"iou_threshold {self.iou_threshold}: must be at least 0 and at most 1")
        require(self.max_total_detections >= 1, "max_detections", self.max_total_detections, "a positive number")
        if not self.soft_sigma > 0:
            raise ValueError(f"soft_sigma {self.soft_sigma}: must be positive")
        if not 0 < self.of_class <= self.max_total_detections:
            raise ValueError(
                f"max_detections_per_class {self.of_class}: must be positive and at most "
                f"max_total_detections {self.max_total_detections}"
            )
        if self.suppression in ("soft", "matrix") and self.of_class < self.max_total_detections:
            raise ValueError(
                f"max_detections_per_class {self.of_class}: {self.suppression} suppression limits "
                f"max_total_detections ({self.max_total_detections}) alone"
            )
        if self.candidates is None and (self.suppression != "hard" or self.class_agnostic):
            raise ValueError("candidates none: only with hard suppression within each class")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionConfig:
    """Everything that defines a detector apart from its network.

    Attributes:
        augmentation: Steps in the order in which they are applied, without those of ``augment``.
        resize: "stretch" makes pictures fill the network's input, "pad" keeps their proportions
            (``utils.letterbox``); None for the checkpoint's choice, else the former.
        exact_classes: One class slot per category. Otherwise the slots are one per id up to the largest, and an unused
            one for the background.
        train_crowds: Train on boxes around crowds as if they were objects.
        batch_norm_decay: Decay of the moving batch-norm statistics. Runs of fewer than a few hundred steps need a lower
            value, or the statistics stay near their initial values.
        norm: Normalization of pyramid and heads, "batch" or "group"; None for that of the weights, else "batch".

    Raises:
        UsageError: A value is out of range.
    """

    anchors: AnchorSpec = field(default_factory=AnchorSpec)
    coder: BoxCoderSpec = field(default_factory=BoxCoderSpec)
    matcher: MatcherSpec = field(default_factory=MatcherSpec)
    heads: HeadSpec = field(default_factory=HeadSpec)
    losses: LossSpec = field(default_factory=LossSpec)
    post_processing: PostProcessingSpec = field(default_factory=PostProcessingSpec)
    augmentation: tuple[AugmentationStep, ...] = DETECTION_STEPS
    augment: ObjectAugmentConfig = field(default_factory=ObjectAugmentConfig)
    resize: str | None = None
    exact_classes: bool = False
    train_crowds: bool = False
    batch_norm_decay: float = 0.997
    norm: str | None = None

    @property
    def pads(self) -> bool:
        """True if pictures keep their proportions."""
        return self.resize == PAD

    def __post_init__(self) -> None:
        decay = self.batch_norm_decay
        require(0.0 <= decay < 1.0, "batch_norm_decay", decay, "at least 0 and below 1")
        require(self.resize in (None, *RESIZES), "resize", self.resize, f"one of {', '.join(RESIZES)}")
        losses = self.losses
        for flag, weight in (
            ("box_loss_weight", losses.localization_weight),
            ("class_loss_weight", losses.classification_weight),
            ("distribution_loss_weight", losses.distribution_weight),
            ("centerness_loss_weight", losses.centerness_weight),
        ):
            require(0.0 <= weight < math.inf, flag, weight, "a number that is not negative")
        share = self.matcher.aligned_after
        require(0.0 <= share < 1.0, "task_aligned_after", share, "a share of the run, at least 0 and below 1")
        self._check_needs()

    def _check_needs(self) -> None:
        """Raises ``UsageError`` for a number that is given without the choice that it belongs to."""
        losses, usual = self.losses, LossSpec()
        for flag, value, default, needed, there in (
            (
                "task_aligned_after",
                self.matcher.aligned_after,
                MatcherSpec().aligned_after,
                f"--matcher {TASK_ALIGNED}",
                self.matcher.kind == TASK_ALIGNED,
            ),
            (
                "distribution_loss_weight",
                losses.distribution_weight,
                usual.distribution_weight,
                "--distribution_focal",
                self.heads.distribution,
            ),
            (
                "centerness_loss_weight",
                losses.centerness_weight,
                usual.centerness_weight,
                "--centerness",
                self.heads.centerness,
            ),
        ):
            if value != default and not there:
                raise UsageError(f"--{flag} {value:g}: only used with {needed}, which is not given")

    def check_accumulation(self, steps: int) -> None:
        """Raises ``UsageError`` if the losses need predictions for a whole batch, which parts of it do not give."""
        if steps > 1 and self.matcher.kind == TASK_ALIGNED:
            raise UsageError(
                f"--accumulate_steps {steps}: computes one part of a batch at a time, but --matcher {TASK_ALIGNED} "
                "divides the losses by what is predicted for all of it; leave one of them out"
            )
