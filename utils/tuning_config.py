"""Which weights of a network a run trains, at which rates, and which averages of them it keeps and uses (no TF)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from utils.errors import require

RAW, EMA = "raw", "ema"
EVAL_WEIGHTS = (RAW, EMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningConfig:
    """What becomes of the weights beside their descent.

    Attributes:
        freeze_backbone: Train all but the backbone, whose batch normalization uses its stored statistics.
        freeze_batch_norm: Train on the stored batch-norm statistics and leave them as they are.
        head_lr_multiplier: Factor of the learning rate for the head.
        ema_decay: Share of the old average that a step keeps in the exponential moving averages of the weights, which
            are saved beside the weights; None keeps no averages.
        eval_weights: "raw" or "ema", the weights that evaluation, prediction and export use; None stands for the
            averages where a checkpoint has them.

    Raises:
        UsageError: A value is out of range.
    """

    freeze_backbone: bool = False
    freeze_batch_norm: bool = False
    head_lr_multiplier: float = 1.0
    ema_decay: float | None = None
    eval_weights: str | None = None

    def __post_init__(self) -> None:
        factor, decay = self.head_lr_multiplier, self.ema_decay
        require(math.isfinite(factor) and factor > 0, "head_lr_multiplier", f"{factor:g}", "a number above 0")
        if decay is not None:
            require(0.0 < decay < 1.0, "ema_decay", f"{decay:g}", "above 0 and below 1")
        if self.eval_weights is not None:
            require(self.eval_weights in EVAL_WEIGHTS, "eval_weights", self.eval_weights, "raw or ema")
