"""Mixed precision and compilation, as asked for (no TF)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from utils.errors import UsageError, require


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionConfig:
    """Mixed precision and compilation, as asked for; ``runtime/precision.py`` says what the machine can do of it."""

    amp: bool = False
    static_loss_scale: float | None = None
    loss_scaling: bool = True
    xla: bool = False
    tf32: bool = True

    def __post_init__(self) -> None:
        scale = self.static_loss_scale
        if scale is not None:
            require(math.isfinite(scale) and scale > 0, "static_loss_scale", scale, "positive, or -1 for dynamic")
            if not self.amp:
                raise UsageError(f"--static_loss_scale {scale:g}: only used with --amp, which is not given")
