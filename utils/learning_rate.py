"""Learning-rate schedules, written once for Python numbers, NumPy arrays and tensors.

The step counts updates from 0. For classifiers, two details follow the original on purpose. The ramp starts at 0, so
the first update changes nothing. The cosine's phase counts from step 0, so the rate drops a little where the ramp ends.
For detectors, the ramp begins above 0 and the cosine counts from its end. All other schedules count from the end of the
ramp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from utils.optimizer_config import OptimizerConfig
from utils.optimizer_table import OPTIMIZERS

IMAGES_PER_RATE = 256
BOUNDARY_EPOCHS = (30, 60, 80, 90)
STEP_FACTOR = 0.1
POWER = 2
"""Exponent of "poly". Source: You et al., arXiv:1708.03888."""
STABLE_SHARE = 0.8
"""Share of the run after which "wsd" lowers the rate. Source: Hägele et al., arXiv:2405.18392."""
CYCLE_START, CYCLE_END = 1 / 25, 1 / 25e4
"""First and last rate of "one_cycle" as parts of the peak. Source: PyTorch's documentation of ``OneCycleLR``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule in steps.

    Attributes:
        kind: One of ``utils.optimizer_config.SCHEDULES``, or "exponential": from ``start`` to ``final`` in equal
            ratios, without warm-up.
        peak: Learning rate at the end of the warm-up.
        start: Learning rate at step 0 if there is a warm-up.
        warmup_steps: Length U of the ramp from ``start`` to ``peak``: half a cosine for "one_cycle", else a line.
        decay_from: Step at which the decay begins; before it, the rate is the peak.
        decay_steps: Step at which the decay ends; after it, the rate is ``final``.
        final: Learning rate after the decay.
        boundaries: Last step of each piece of the step schedule; the next piece has a tenth of the rate.
    """

    kind: str
    peak: float
    warmup_steps: int
    decay_steps: int
    decay_from: int = 0
    start: float = 0.0
    final: float = 0.0
    boundaries: tuple[int, ...] = ()

    def rate(self, step: Any, xp: ModuleType = np) -> Any:
        """The learning rate of an update.

        Args:
            step: Number of the update: an int, an array, or a floating-point tensor.
            xp: The module for that type: ``numpy`` or ``tensorflow``.
        """
        decayed = _COURSES[self.kind](self, step, xp)
        if not self.warmup_steps:
            return decayed
        ramp = self.start + (self.peak - self.start) * self._ramp(step / self.warmup_steps, xp)
        return xp.where(step < self.warmup_steps, ramp, decayed)

    def _ramp(self, share: Any, xp: ModuleType) -> Any:
        return 0.5 * (1.0 - xp.cos(math.pi * share)) if self.kind == "one_cycle" else share

    def _phase(self, step: Any, xp: ModuleType) -> Any:
        """The share of the decay that is over."""
        since = xp.maximum(step - self.decay_from, 0.0 * step)
        return xp.minimum(since / max(self.decay_steps - self.decay_from, 1), 1.0)

    def _cosine(self, step: Any, xp: ModuleType) -> Any:
        """Source: Loshchilov and Hutter, SGDR, arXiv:1608.03983, without restarts."""
        fallen = 0.5 * (self.peak - self.final) * (1.0 + xp.cos(math.pi * self._phase(step, xp)))
        return fallen + self.final if self.final else fallen

    def _line(self, step: Any, xp: ModuleType) -> Any:
        return self.final + (self.peak - self.final) * (1.0 - self._phase(step, xp))

    def _polynomial(self, step: Any, xp: ModuleType) -> Any:
        return self.final + (self.peak - self.final) * (1.0 - self._phase(step, xp)) ** POWER

    def _constant(self, step: Any, xp: ModuleType) -> Any:
        return self.peak + 0.0 * step

    def _exponential(self, step: Any, xp: ModuleType) -> Any:
        return self.start * (self.final / self.start) ** self._phase(step, xp)

    def _pieces(self, step: Any, xp: ModuleType) -> Any:
        rate = self.peak + 0.0 * step
        for index, boundary in enumerate(self.boundaries):
            rate = xp.where(step > boundary, self.peak * STEP_FACTOR ** (index + 1) + 0.0 * step, rate)
        return rate


_COURSES: dict[str, Callable[[Schedule, Any, ModuleType], Any]] = {
    "step": Schedule._pieces,
    "cosine": Schedule._cosine,
    "linear": Schedule._line,
    "poly": Schedule._polynomial,
    "one_cycle": Schedule._cosine,
    "wsd": Schedule._line,
    "constant": Schedule._constant,
    "exponential": Schedule._exponential,
}


def scales_by_root(config: OptimizerConfig) -> bool:
    """Returns True if rates follow the square root of the batch, from the batch of the recipe on."""
    return config.scale_recipe and config.recipe_batch is not None and OPTIMIZERS[config.name].adaptive


def rate_scale(config: OptimizerConfig, global_batch: int) -> float:
    """The factor from a rate for 256 images to the same rate at a global batch.

    Source: Goyal et al., arXiv:1706.02677, for linear scaling. For the square root of adaptive optimizers: You et al.,
    arXiv:1904.00962 (LAMB), and Malladi et al., arXiv:2205.10092 (Adam and RMSProp).
    """
    if config.recipe_batch is not None and scales_by_root(config):
        return config.recipe_batch / IMAGES_PER_RATE * math.sqrt(global_batch / config.recipe_batch)
    return global_batch / IMAGES_PER_RATE


def make_schedule(config: OptimizerConfig, *, global_batch: int, steps_per_epoch: int, total_steps: int) -> Schedule:
    """Makes the schedule of a run: scales the rates with the batch and converts epochs to steps.

    Source: Goyal et al., Accurate, Large Minibatch SGD, arXiv:1706.02677, for the warm-up.
    """
    scale, peak = rate_scale(config, global_batch), config.learning_rate
    if peak is None:
        peak = config.learning_rate_per_256 * scale
    length = config.schedule_steps or total_steps
    warmup_steps = _warmup_steps(config, steps_per_epoch, length)
    return Schedule(
        kind=config.schedule,
        peak=peak,
        start=peak * _start_share(config) if config.lr_warmup_start is None else config.lr_warmup_start * scale,
        final=peak * _end_share(config) if config.lr_final is None else config.lr_final * scale,
        warmup_steps=warmup_steps,
        decay_from=_decay_from(config, warmup_steps + config.hold_steps, length),
        decay_steps=length,
        boundaries=tuple(steps_per_epoch * epoch for epoch in BOUNDARY_EPOCHS),
    )


def _start_share(config: OptimizerConfig) -> float:
    return CYCLE_START if config.schedule == "one_cycle" else config.warmup_start


def _end_share(config: OptimizerConfig) -> float:
    return CYCLE_END if config.schedule == "one_cycle" else 0.0


def _decay_from(config: OptimizerConfig, risen: int, length: int) -> int:
    """The step at which the decay begins, given the one at which the warm-up and the hold are over."""
    if config.schedule == "wsd":
        return max(risen, int(length * STABLE_SHARE))
    from_start = config.schedule == "cosine" and not config.cosine_from_peak
    return 0 if from_start else risen


def _warmup_steps(config: OptimizerConfig, steps_per_epoch: int, total_steps: int) -> int:
    if config.warmup_steps is not None:
        return config.warmup_steps
    if config.warmup_epochs is not None:
        return int(steps_per_epoch * config.warmup_epochs)
    return int(total_steps * config.warmup_share)
