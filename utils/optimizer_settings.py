"""The numbers of an optimizer, apart from the table of optimizers, which builds them (no TensorFlow)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """The numbers that an optimizer is built with, besides the learning rate.

    Attributes:
        momentum: The momentum, or the decay of the mean of gradients (beta1).
        beta2: The decay of the mean of squared gradients.
        epsilon: Small number in the divisor.
        weight_decay: Decay of the weights that the update itself contains; 0 if the loss has the penalty.
        decayed: Names of the variables that decay so.
        clip_norm: Largest global norm of the gradients, or None.
        unit_clipped: Names of the variables whose gradients are clipped by unit.
    """

    momentum: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decayed: frozenset[str] = frozenset()
    clip_norm: float | None = None
    unit_clipped: frozenset[str] = frozenset()
