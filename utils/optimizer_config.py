"""The optimizer of a run with its schedule, loss and regularization. Imports no TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from utils.errors import UsageError, require
from utils.number_rules import LARGEST_AMOUNT, is_fraction, require_amount
from utils.optimizer_table import DEFAULT_OPTIMIZER, OPTIMIZERS

SCHEDULES = ("step", "cosine", "linear", "poly", "one_cycle", "wsd", "constant")
LOSSES = ("softmax", "bce", "focal")
FOCAL_GAMMA = 2.0
"""Focusing parameter of the focal loss, that of the paper."""
UNWEIGHTED, BALANCED = "none", "balanced"
ENDLESS_SCHEDULES = ("step", "constant")
"""Schedules whose last rate follows from the peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """The optimizer, a row of ``utils.optimizer_table.OPTIMIZERS``, its schedule and its regularization.

    ``learning_rate`` sets the peak itself, whatever the batch size. All other rates are for a batch of 256 images and
    grow with the batch. With ``scale_recipe``, those of adaptive optimizers are as they are at a global batch of
    ``recipe_batch``, and follow the square root of the batch from there. The warm-up takes ``warmup_steps`` steps, or
    ``warmup_epochs`` epochs if the former is None, or the fraction ``warmup_share`` of the run if both are. It begins
    at the fraction ``warmup_start`` of the peak. A decay ends at step ``schedule_steps``, by default at the end of the
    run. It begins after the warm-up and ``hold_steps`` steps at the peak; a cosine does so with ``cosine_from_peak``,
    else at step 0. ``lr_warmup_start`` and ``lr_final``, for a batch of 256 images, replace the schedule's own first
    and last rate. ``loss`` is that of classifiers, and ``bce_target_threshold`` the target above which a class is
    present. ``focal_gamma`` defaults to ``FOCAL_GAMMA``. ``class_weights`` is "none", "balanced" or a file, and
    ``weight_of_class`` holds the weights once they are resolved. A step sums the gradients of ``accumulate_steps``
    batches. ``beta2``, ``epsilon`` and ``clip_norm`` default to those of the optimizer's row. ``stochastic_depth`` is
    the probability of dropping the branch of the last residual block, and ``dropout`` that of dropping a feature before
    the last layer.
    """

    name: str = DEFAULT_OPTIMIZER
    learning_rate_per_256: float = 0.1
    learning_rate: float | None = None
    recipe_batch: int | None = None
    scale_recipe: bool = False
    warmup_epochs: float | None = 5.0
    warmup_steps: int | None = None
    warmup_share: float = 0.0
    warmup_start: float = 0.0
    hold_steps: int = 0
    schedule: str = "step"
    schedule_steps: int | None = None
    cosine_from_peak: bool = False
    lr_warmup_start: float | None = None
    lr_final: float | None = None
    momentum: float = 0.9
    beta2: float | None = None
    epsilon: float | None = None
    weight_decay: float = 1e-4
    no_bias_decay: bool = False
    clip_norm: float | None = None
    adaptive_clip: bool = False
    accumulate_steps: int = 1
    loss: str = "softmax"
    bce_target_threshold: float | None = None
    focal_gamma: float | None = None
    class_weights: str = UNWEIGHTED
    weight_of_class: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    stochastic_depth: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        rate, warmup, alpha = self.learning_rate_per_256, self.warmup_epochs, self.mixup_alpha
        require(self.name in OPTIMIZERS, "optimizer", self.name, f"one of {', '.join(OPTIMIZERS)}")
        require_amount("lr_init", rate)
        if warmup is not None:
            require_amount("lr_warmup_epochs", warmup, "a number of epochs, ")
        self._check_recipe()
        self._check_schedule()
        require(is_fraction(self.momentum) and self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        self._check_numbers_of_optimizer()
        require_amount("weight_decay", self.weight_decay)
        smoothing = self.label_smoothing
        require(is_fraction(smoothing) and smoothing < 1, "label_smoothing", smoothing, "at least 0 and below 1")
        require_amount("mixup", alpha, "an alpha, ")
        require_amount("cutmix", self.cutmix_alpha, "an alpha, ")
        for flag in ("stochastic_depth", "dropout"):
            value = getattr(self, flag)
            require(is_fraction(value) and value < 1, flag, f"{value:g}", "a probability, at least 0 and below 1")
        require(self.accumulate_steps > 0, "accumulate_steps", self.accumulate_steps, "a positive integer")
        self._check_loss()

    def _check_loss(self) -> None:
        require(self.loss in LOSSES, "loss", self.loss, "softmax, bce or focal")
        require(bool(self.class_weights), "class_weights", "''", "none, balanced or a file")
        threshold, gamma = self.bce_target_threshold, self.focal_gamma
        if threshold is not None:
            fits = is_fraction(threshold) and threshold < 1
            require(fits, "bce_target_threshold", f"{threshold:g}", "at least 0 and below 1")
            if self.loss != "bce":
                raise UsageError(f"--bce_target_threshold {threshold:g}: only used with --loss bce, which is not given")
        if gamma is not None:
            require(
                math.isfinite(gamma) and 0 <= gamma <= 100, "focal_gamma", f"{gamma:g}", "at least 0 and at most 100"
            )
            if self.loss != "focal":
                raise UsageError(f"--focal_gamma {gamma:g}: only used with --loss focal, which is not given")

    def _check_recipe(self) -> None:
        if self.recipe_batch is not None:
            require(self.recipe_batch > 0, "recipe_batch", self.recipe_batch, "a positive integer")
        elif self.scale_recipe:
            raise UsageError(
                "--scale_recipe: needs a recipe that states its global batch (--recipe_batch), such as recipes/A3.args"
            )

    def _check_schedule(self) -> None:
        require(self.schedule in SCHEDULES, "schedule", self.schedule, f"one of {', '.join(SCHEDULES)}")
        for flag in ("lr_warmup_start", "lr_final"):
            value = getattr(self, flag)
            if value is not None:
                allowed = f"at least 0 and at most --lr_init, {self.learning_rate_per_256:g}"
                require(0 <= value <= self.learning_rate_per_256, flag, f"{value:g}", allowed)
        if self.lr_final is not None and self.schedule in ENDLESS_SCHEDULES:
            raise UsageError(
                f"--lr_final {self.lr_final:g}: not used by the {self.schedule} schedule, whose last rate follows from "
                "--lr_init; give --cosine_lr or another --schedule"
            )
        if self.lr_warmup_start is not None and self.warmup_epochs == 0:
            raise UsageError(f"--lr_warmup_start {self.lr_warmup_start:g}: needs --lr_warmup_epochs above 0")

    def _check_numbers_of_optimizer(self) -> None:
        for flag in ("beta2", "epsilon"):
            value = getattr(self, flag)
            users = [spec.name for spec in OPTIMIZERS.values() if getattr(spec, flag) is not None]
            if value is not None and self.name not in users:
                raise UsageError(f"--{flag} {value:g}: not used by --optimizer {self.name}, only by {', '.join(users)}")
        if self.beta2 is not None:
            require(is_fraction(self.beta2) and self.beta2 < 1, "beta2", self.beta2, "at least 0 and below 1")
        for flag in ("epsilon", "clip_norm"):
            value = getattr(self, flag)
            if value is not None:
                allowed = f"above 0 and at most {LARGEST_AMOUNT:g}"
                require(math.isfinite(value) and 0 < value <= LARGEST_AMOUNT, flag, f"{value:g}", allowed)
