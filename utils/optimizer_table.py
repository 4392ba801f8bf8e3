"""The table of optimizers, one row each: the only place that names optimizers and their state variables.

Importing this module does not load TensorFlow, so the command line can use it; the builders load it when called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Step = Callable[[Any, float, Any, Any, Sequence[Any]], tuple[Any, Sequence[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSpec:
    """An optimizer of ``tf.compat.v1``.

    Attributes:
        name: Value of ``--optimizer``.
        help: A few words for ``--help``.
        build: Builds the optimizer from the learning rate, a scalar tensor, and the momentum.
        slots: State variables kept for each variable; named ``<variable>/<slot>`` in checkpoints.
        state: State variables kept once for all variables, by their names in checkpoints.
        step: The same update as a function of tensors, for small variables that are updated together: from learning
            rate, momentum, gradient, weight and slots to the new weight and slots. None if each is updated alone.
    """

    name: str
    help: str
    build: Callable[[Any, float], Any]
    slots: tuple[str, ...]
    state: tuple[str, ...] = ()
    step: Step | None = None


def _momentum(learning_rate: Any, momentum: float) -> Any:
    import tensorflow as tf

    return tf.compat.v1.train.MomentumOptimizer(learning_rate, momentum)


def _nesterov(learning_rate: Any, momentum: float) -> Any:
    import tensorflow as tf

    return tf.compat.v1.train.MomentumOptimizer(learning_rate, momentum, use_nesterov=True)


def _momentum_step(
    rate: Any, momentum: float, gradient: Any, weight: Any, slots: Sequence[Any]
) -> tuple[Any, Sequence[Any]]:
    gathered = slots[0] * momentum + gradient
    return weight - gathered * rate, (gathered,)


def _nesterov_step(
    rate: Any, momentum: float, gradient: Any, weight: Any, slots: Sequence[Any]
) -> tuple[Any, Sequence[Any]]:
    gathered = slots[0] * momentum + gradient
    return weight - (gradient * rate + gathered * momentum * rate), (gathered,)


def _adam(learning_rate: Any, momentum: float) -> Any:
    import tensorflow as tf

    return tf.compat.v1.train.AdamOptimizer(learning_rate, beta1=momentum)


OPTIMIZERS = {
    spec.name: spec
    for spec in (
        OptimizerSpec(
            name="momentum",
            help="stochastic gradient descent with momentum",
            build=_momentum,
            slots=("Momentum",),
            step=_momentum_step,
        ),
        OptimizerSpec(
            name="nesterov",
            help="momentum with Nesterov's look-ahead",
            build=_nesterov,
            slots=("Momentum",),
            step=_nesterov_step,
        ),
        OptimizerSpec(
            name="adam",
            help="adaptive; --momentum is its beta1",
            build=_adam,
            slots=("Adam", "Adam_1"),
            state=("beta1_power", "beta2_power"),
        ),
    )
}
DEFAULT_OPTIMIZER = "momentum"

SLOTS = tuple(dict.fromkeys(slot for spec in OPTIMIZERS.values() for slot in spec.slots))
"""The slots of all optimizers."""
STATE = tuple(dict.fromkeys(name for spec in OPTIMIZERS.values() for name in spec.state))
"""The names of the state that optimizers keep once."""
STATE_PATTERN = re.compile(rf"(^|/)({'|'.join(SLOTS)})(_\d+)?$|^({'|'.join(STATE)})(_\d+)?$")
"""Matches the names of all optimizer state, including the numbered names in a graph with several optimizers."""


def slot_names(variable: str) -> tuple[str, ...]:
    """The names of a variable's slots for all optimizers."""
    return tuple(f"{variable}/{slot}" for slot in SLOTS)


def optimizer_of(names: Iterable[str]) -> str | None:
    """The first optimizer whose slots are all in a checkpoint of these names; None if there is none."""
    ends = {name.rpartition("/")[2] for name in names}
    return next((spec.name for spec in OPTIMIZERS.values() if spec.slots and ends.issuperset(spec.slots)), None)
