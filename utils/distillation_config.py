"""Training by the predictions of a teacher. No TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from utils.errors import UsageError, require

DEFAULT_ALPHA = 0.5
DEFAULT_TEMPERATURE = 2.0
HIGHEST_TEMPERATURE = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationConfig:
    """The teacher of a run and the loss that follows its predictions.

    Attributes:
        teacher: A checkpoint, a folder of them, or an artefact; None trains by the labels alone.
        alpha: Weight of the teacher's predictions; the labels have the rest. None for the default.
        temperature: Divisor of the logits of both networks. None for the default.

    Raises:
        UsageError: A value is out of range, or has no teacher.
    """

    teacher: str | None = None
    alpha: float | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        for name in ("alpha", "temperature"):
            value = getattr(self, name)
            if value is not None and self.teacher is None:
                raise UsageError(f"--distill_{name} {value:g}: only used with --distill_from, which is not given")
        weight, heat = self.used_alpha, self.used_temperature
        require(math.isfinite(weight) and 0 < weight <= 1, "distill_alpha", f"{weight:g}", "above 0 and at most 1")
        allowed = f"above 0 and at most {HIGHEST_TEMPERATURE:g}"
        require(math.isfinite(heat) and 0 < heat <= HIGHEST_TEMPERATURE, "distill_temperature", f"{heat:g}", allowed)

    @property
    def used_alpha(self) -> float:
        return DEFAULT_ALPHA if self.alpha is None else self.alpha

    @property
    def used_temperature(self) -> float:
        return DEFAULT_TEMPERATURE if self.temperature is None else self.temperature
