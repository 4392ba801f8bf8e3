"""Optimizers, one row each: all that names one, or the state it keeps, derives from here.

Importing this loads no TensorFlow, so that the command line can; builders load it when they are called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSpec:
    """An optimizer of ``tf.compat.v1``.

    Attributes:
        name: What ``--optimizer`` calls it.
        help: A few words for ``--help``.
        build: Makes one from a learning rate, a scalar tensor, and the momentum.
        slots: What it keeps for each variable; ``<variable>/<slot>`` in checkpoints.
        state: What it keeps once, for all variables together; these are the names in checkpoints.
    """

    name: str
    help: str
    build: Callable[[Any, float], Any]
    slots: tuple[str, ...]
    state: tuple[str, ...] = ()


def _momentum(learning_rate: Any, momentum: float) -> Any:
    import tensorflow as tf

    return tf.compat.v1.train.MomentumOptimizer(learning_rate, momentum)


def _nesterov(learning_rate: Any, momentum: float) -> Any:
    import tensorflow as tf

    return tf.compat.v1.train.MomentumOptimizer(learning_rate, momentum, use_nesterov=True)


def _adam(learning_rate: Any, momentum: float) -> Any:
    import tensorflow as tf

    return tf.compat.v1.train.AdamOptimizer(learning_rate, beta1=momentum)


OPTIMIZERS = {
    spec.name: spec
    for spec in (
        OptimizerSpec(
            name="momentum", help="stochastic gradient descent with momentum", build=_momentum, slots=("Momentum",)
        ),
        OptimizerSpec(
            name="nesterov", help="the same with Nesterov's look-ahead", build=_nesterov, slots=("Momentum",)
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
"""The names of what optimizers keep once."""
STATE_PATTERN = re.compile(rf"(^|/)({'|'.join(SLOTS)})(_\d+)?$|^({'|'.join(STATE)})(_\d+)?$")
"""Names of all that optimizers keep, those included that TensorFlow numbers where a graph has several."""


def slot_names(variable: str) -> tuple[str, ...]:
    """The names that a variable's slots have, whatever the optimizer."""
    return tuple(f"{variable}/{slot}" for slot in SLOTS)


def optimizer_of(names: Iterable[str]) -> str | None:
    """The first optimizer whose slots are all among the names of a checkpoint; None where it has those of none."""
    ends = {name.rpartition("/")[2] for name in names}
    return next((spec.name for spec in OPTIMIZERS.values() if spec.slots and ends.issuperset(spec.slots)), None)
