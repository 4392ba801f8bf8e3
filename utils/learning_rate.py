"""Learning-rate schedules, written once for Python numbers, NumPy arrays and tensors.

The step counts updates from 0. For classifiers, two details follow the original on purpose. The ramp starts at 0, so
the first update changes nothing. The cosine's phase counts from step 0, so the rate drops a little where the ramp ends.
For detectors, the ramp begins above 0 and the cosine counts from its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from utils.config import OptimizerConfig

IMAGES_PER_RATE = 256
BOUNDARY_EPOCHS = (30, 60, 80, 90)
STEP_FACTOR = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule in steps.

    Attributes:
        kind: "cosine" or "step".
        peak: Learning rate at the end of the warm-up.
        start: Learning rate at step 0 if there is a warm-up.
        warmup_steps: Length U of the linear ramp from ``start`` to ``peak``.
        decay_from: Step at which the cosine begins; before it, the rate is the peak.
        decay_steps: Step at which the cosine ends; after it, the rate is 0.
        boundaries: Last step of each piece of the step schedule; the next piece has a tenth of the rate.
    """

    kind: str
    peak: float
    warmup_steps: int
    decay_steps: int
    decay_from: int = 0
    start: float = 0.0
    boundaries: tuple[int, ...] = ()

    def rate(self, step: Any, xp: ModuleType = np) -> Any:
        """The learning rate of an update.

        Args:
            step: Number of the update: an int, an array, or a floating-point tensor.
            xp: The module for that type: ``numpy`` or ``tensorflow``.
        """
        decayed = self._cosine(step, xp) if self.kind == "cosine" else self._pieces(step, xp)
        if not self.warmup_steps:
            return decayed
        ramp = self.start + (self.peak - self.start) * (step / self.warmup_steps)
        return xp.where(step < self.warmup_steps, ramp, decayed)

    def _cosine(self, step: Any, xp: ModuleType) -> Any:
        """Source: Loshchilov and Hutter, SGDR, arXiv:1608.03983, without restarts."""
        since = xp.maximum(step - self.decay_from, 0.0 * step)
        phase = xp.minimum(since / max(self.decay_steps - self.decay_from, 1), 1.0)
        return 0.5 * self.peak * (1.0 + xp.cos(math.pi * phase))

    def _pieces(self, step: Any, xp: ModuleType) -> Any:
        rate = self.peak + 0.0 * step
        for index, boundary in enumerate(self.boundaries):
            rate = xp.where(step > boundary, self.peak * STEP_FACTOR ** (index + 1) + 0.0 * step, rate)
        return rate


def make_schedule(config: OptimizerConfig, *, global_batch: int, steps_per_epoch: int, total_steps: int) -> Schedule:
    """Makes the schedule of a run: scales the rate linearly and converts epochs to steps.

    Source: Goyal et al., Accurate, Large Minibatch SGD, arXiv:1706.02677, for linear scaling and warm-up.
    """
    peak = config.learning_rate
    if peak is None:
        peak = config.learning_rate_per_256 * global_batch / IMAGES_PER_RATE
    length = config.schedule_steps or total_steps
    warmup_steps = _warmup_steps(config, steps_per_epoch, length)
    return Schedule(
        kind=config.schedule,
        peak=peak,
        start=peak * config.warmup_start,
        warmup_steps=warmup_steps,
        decay_from=warmup_steps + config.hold_steps if config.cosine_from_peak else 0,
        decay_steps=length,
        boundaries=tuple(steps_per_epoch * epoch for epoch in BOUNDARY_EPOCHS),
    )


def _warmup_steps(config: OptimizerConfig, steps_per_epoch: int, total_steps: int) -> int:
    if config.warmup_steps is not None:
        return config.warmup_steps
    if config.warmup_epochs is not None:
        return int(steps_per_epoch * config.warmup_epochs)
    return int(total_steps * config.warmup_share)
