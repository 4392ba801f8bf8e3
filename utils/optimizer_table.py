"""The table of optimizers, one row each: the only place that names optimizers and their state variables.

Importing this module does not load TensorFlow, so the command line can use it; the builders load it when called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from utils.optimizer_settings import OptimizerSettings

Step = Callable[[Any, float, Any, Any, Sequence[Any]], tuple[Any, Sequence[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSpec:
    """An optimizer of ``tf.compat.v1``.

    Attributes:
        name: Value of ``--optimizer``.
        help: A few words for ``--help``.
        build: Builds the optimizer from the learning rate, a scalar tensor, and its settings.
        slots: State variables kept for each variable; named ``<variable>/<slot>`` in checkpoints.
        state: State variables kept once for all variables, by their names in checkpoints.
        step: The same update as a function of tensors, for small variables that are updated together: from learning
            rate, momentum, gradient, weight and slots to the new weight and slots. None if each is updated alone.
        beta2: Default of ``--beta2``; None if the optimizer has no mean of squared gradients.
        epsilon: Default of ``--epsilon``; None if the optimizer has none.
        decays: Whether weight decay is part of the update instead of the loss.
        clip_norm: Default of ``--clip_norm``.
    """

    name: str
    help: str
    build: Callable[[Any, OptimizerSettings], Any]
    slots: tuple[str, ...]
    state: tuple[str, ...] = ()
    step: Step | None = None
    beta2: float | None = None
    epsilon: float | None = None
    decays: bool = False
    clip_norm: float | None = None

    @property
    def adaptive(self) -> bool:
        """True if the update divides gradients by their own size."""
        return self.beta2 is not None


def _momentum(learning_rate: Any, settings: OptimizerSettings) -> Any:
    import tensorflow as tf

    return tf.compat.v1.train.MomentumOptimizer(learning_rate, settings.momentum)


def _nesterov(learning_rate: Any, settings: OptimizerSettings) -> Any:
    import tensorflow as tf

    return tf.compat.v1.train.MomentumOptimizer(learning_rate, settings.momentum, use_nesterov=True)


def _momentum_step(
    rate: Any, momentum: float, gradient: Any, weight: Any, slots: Sequence[Any]
) -> tuple[Any, Sequence[Any]]:
    gathered = slots[0] * momentum + gradient
    return weight - gathered * rate, (gathered,)


def _adam(learning_rate: Any, settings: OptimizerSettings) -> Any:
    import tensorflow as tf

    return tf.compat.v1.train.AdamOptimizer(
        learning_rate, beta1=settings.momentum, beta2=settings.beta2, epsilon=settings.epsilon
    )


def _adamw(learning_rate: Any, settings: OptimizerSettings) -> Any:
    from utils.decaying_optimizers import AdamW

    return AdamW(learning_rate, settings)


def _lamb(learning_rate: Any, settings: OptimizerSettings) -> Any:
    from utils.decaying_optimizers import Lamb

    return Lamb(learning_rate, settings)


def _lars(learning_rate: Any, settings: OptimizerSettings) -> Any:
    from utils.decaying_optimizers import Lars

    return Lars(learning_rate, settings)


def _rmsprop(learning_rate: Any, settings: OptimizerSettings) -> Any:
    import tensorflow as tf

    return tf.compat.v1.train.RMSPropOptimizer(
        learning_rate, decay=settings.beta2, momentum=settings.momentum, epsilon=settings.epsilon
    )


_POWERS = ("beta1_power", "beta2_power")
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
            name="nesterov", help="momentum with Nesterov's look-ahead", build=_nesterov, slots=("Momentum",)
        ),
        OptimizerSpec(
            name="adam",
            help="adaptive; --momentum is its beta1",
            build=_adam,
            slots=("Adam", "Adam_1"),
            state=_POWERS,
            beta2=0.999,
            epsilon=1e-8,
        ),
        OptimizerSpec(
            name="adamw",
            help="adam that decays the weights directly",
            build=_adamw,
            slots=("AdamW", "AdamW_1"),
            state=_POWERS,
            beta2=0.999,
            epsilon=1e-8,
            decays=True,
        ),
        OptimizerSpec(
            name="lamb",
            help="adamw whose updates follow the size of each layer's weights, for large batches",
            build=_lamb,
            slots=("LAMB", "LAMB_1"),
            state=_POWERS,
            beta2=0.999,
            epsilon=1e-6,
            decays=True,
            clip_norm=1.0,
        ),
        OptimizerSpec(
            name="lars",
            help="momentum whose updates follow the size of each layer's weights, for large batches",
            build=_lars,
            slots=("LARS",),
            epsilon=1e-8,
            decays=True,
        ),
        OptimizerSpec(
            name="rmsprop",
            help="momentum of gradients divided by their running root mean square",
            build=_rmsprop,
            slots=("RMSProp", "RMSProp_1"),
            beta2=0.9,
            epsilon=1e-10,
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
