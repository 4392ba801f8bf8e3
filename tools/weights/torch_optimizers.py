"""Optimizers of torch and timm that compute as ours do: their options and their state, to and from our variables.

A state names parameters by number, group after group. timm's groups are the biases and norms, which do not decay, and
the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tools.weights.conversion import our_array, our_shape
from tools.weights.tensor_pickle import TorchTensor
from tools.weights.weights_file import WeightsFile
from utils.errors import UsageError
from utils.optimizer_table import OPTIMIZERS
from utils.weights.checkpoint_contents import check_values

FLAG = "--optimizer_state"
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_IDLE = {"foreach": None}
_NEVER = {"caution": False, "decoupled_decay": False, "corrected_weight_decay": False}
_SWITCHES = {"maximize": False, "differentiable": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchOptimizer:
    """An optimizer of torch or timm.

    Attributes:
        name: Ours.
        state: Keys of a parameter's state, in the order of our slots.
        fixed: Options whose values ours computes with.
        numbers: Our numbers by option; several make a tuple.
        counts: Where its steps are counted: "parameter", "group" or "".
        idle: Options that change nothing.
    """

    name: str
    state: tuple[str, ...]
    fixed: Mapping[str, Any]
    numbers: Mapping[str, tuple[str, ...]]
    counts: str = ""
    idle: Mapping[str, Any] = field(default_factory=lambda: _IDLE)

    def fits(self, group: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
        """Returns whether a file's options and state are those of this optimizer, whatever their values."""
        return {*self.fixed, *self.numbers} <= group.keys() and set(self.state) <= state.keys()

    def options(self, numbers: Mapping[str, Any], decay: float) -> dict[str, Any]:
        """A group without parameters."""
        found = {option: tuple(numbers[name] for name in names) for option, names in self.numbers.items()}
        singles = {option: value[0] if len(value) == 1 else value for option, value in found.items()}
        rates = dict.fromkeys(("lr", "initial_lr", "max_lr_snapshot"), numbers["learning_rate"])
        return {**self.fixed, **self.idle, **singles, **rates, "weight_decay": decay}


_MOMENTUM = {"momentum": ("momentum",)}
_BETAS = {"betas": ("momentum", "beta2"), "eps": ("epsilon",)}
_ADAM = {"amsgrad": False, **_SWITCHES}
_OF_ADAM = {**_IDLE, "capturable": False, "fused": None}
_TRUST = {"trust_clip": False, "always_adapt": False}
ROWS = (
    TorchOptimizer(
        name="lars",
        state=("momentum_buffer",),
        fixed={"dampening": 0, "nesterov": False, "trust_coeff": 0.001, **_TRUST},
        numbers={**_MOMENTUM, "eps": ("epsilon",)},
    ),
    *(
        TorchOptimizer(
            name=name,
            state=("momentum_buffer",),
            fixed={"dampening": 0, "nesterov": ahead, **_SWITCHES},
            numbers=_MOMENTUM,
            idle={**_IDLE, "fused": None},
        )
        for name, ahead in (("momentum", False), ("nesterov", True))
    ),
    *(
        TorchOptimizer(
            name=name,
            state=("exp_avg", "exp_avg_sq"),
            fixed={**_ADAM, "decoupled_weight_decay": decoupled},
            numbers=_BETAS,
            counts="parameter",
            idle=_OF_ADAM,
        )
        for name, decoupled in (("adam", False), ("adamw", True))
    ),
    TorchOptimizer(
        name="lamb",
        state=("exp_avg", "exp_avg_sq"),
        fixed={"bias_correction": True, "grad_averaging": True, **_TRUST, **_NEVER},
        numbers={**_BETAS, "max_grad_norm": ("clip_norm",)},
        counts="group",
    ),
    TorchOptimizer(
        name="rmsprop",
        state=("square_avg", "momentum_buffer"),
        fixed={"centered": False, "lr_in_momentum": True, **_NEVER},
        numbers={**_MOMENTUM, "alpha": ("beta2",), "eps": ("epsilon",)},
        counts="parameter",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerState:
    """The state of an optimizer as our variables.

    Attributes:
        name: Our optimizer.
        values: Slots, state and the step by variable.
        step: Number of steps done; 0 if the file does not count them.
        numbers: Its numbers by the names of our flags.
    """

    name: str
    values: Mapping[str, np.ndarray]
    step: int
    numbers: Mapping[str, Any]


def read_state(file: WeightsFile, sources: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> OptimizerState:
    """The state of the optimizer in a training checkpoint.

    Args:
        file: The checkpoint.
        sources: The name in the file of each of our variables.
        shapes: The shapes of our variables.

    Raises:
        UsageError: There is no such state, or no optimizer of ours goes on with it.
        RunError: A value is not finite, or bytes are missing.
    """
    groups, states = _parts(file)
    first = next(iter(states.values()))
    row = _row(file, groups, first)
    ours = {theirs: variable for variable, theirs in sources.items() if variable in shapes}
    values: dict[str, np.ndarray] = {}
    for number, name in _names(file, groups):
        for key, slot in zip(row.state, OPTIMIZERS[row.name].slots, strict=True):
            tensor = states.get(number, {}).get(key)
            variable, expected = ours.get(name), our_shape(file.shapes[name], torch=True)
            if variable is None or tensor is None:
                continue
            if not isinstance(tensor, TorchTensor) or our_shape(tensor.shape, torch=True) != expected:
                raise _refusal(file, f"parameter {number}, taken for {name}, has a state of another shape")
            array = our_array(file.tensor(tensor), shapes[variable], torch=True)
            check_values(array, f"{file.path}: {key} of {name}")
            values[f"{variable}/{slot}"] = array
    numbers = _numbers(row, groups[-1])
    step = _step(file, row, groups, states)
    for state, decay in zip(OPTIMIZERS[row.name].state, ("momentum", "beta2"), strict=False):
        values[state] = np.asarray(
            float(numbers[decay]) ** (step + 1), np.float32
        )  # one power ahead, as TensorFlow keeps them
    return OptimizerState(
        name=row.name, values={**values, "global_step": np.asarray(step, np.int64)}, step=step, numbers=numbers
    )


def described_state(state: OptimizerState) -> tuple[dict[str, Any], str]:
    """Entries for the description of the weights, and a sentence with the flags that training goes on with."""
    row, numbers = OPTIMIZERS[state.name], state.numbers
    given = {name: numbers[name] for name in ("beta2", "epsilon", "clip_norm") if name in numbers}
    tuning = {name: value for name, value in given.items() if value is not None and value != getattr(row, name)}
    entries: dict[str, Any] = {"step": state.step, "optimizer": state.name, "update": dict(numbers)}
    if tuning:
        entries["tuning"] = tuning
    flags = {"optimizer": state.name, "momentum": numbers.get("momentum"), "weight_decay": numbers["weight_decay"]}
    shown = [f"--{name}={value}" for name, value in {**flags, **tuning}.items() if value is not None]
    return entries, f"go on after step {state.step} with {' '.join(shown)}, and --no_bias_decay if timm made the groups"


def torch_state(
    row: TorchOptimizer, slots: Mapping[str, Sequence[np.ndarray]], numbers: Mapping[str, Any], step: int
) -> dict[str, Any]:
    """The state dict of an optimizer with timm's groups.

    Args:
        row: The optimizer.
        slots: The slots of each parameter by its name, in PyTorch's layouts and in the order of the network.
        numbers: The numbers of the optimizer, with "learning_rate" and "weight_decay".
        step: Number of steps done.
    """
    plain, decayed = split_names({name: arrays[0].shape for name, arrays in slots.items()})
    order = [*plain, *decayed]
    count = np.asarray(step, np.float32)
    states = {}
    for number, name in enumerate(order):
        own = {"step": count} if row.counts == "parameter" else {}
        states[number] = {**own, **dict(zip(row.state, slots[name], strict=True))}
    groups = []
    for begin, names, decay in ((0, plain, 0.0), (len(plain), decayed, numbers["weight_decay"])):
        group = row.options(numbers, decay)
        group |= {"step": count} if row.counts == "group" else {}
        groups.append({**group, "params": list(range(begin, begin + len(names)))})
    return {"state": states, "param_groups": groups}


def split_names(shapes: Mapping[str, Sequence[int]]) -> tuple[list[str], list[str]]:
    """The parameters that timm does not decay, biases and norms, and those that it does; both in their order."""
    plain = [name for name, shape in shapes.items() if len(shape) <= 1 or name.endswith(".bias")]
    return plain, [name for name in shapes if name not in set(plain)]


def _parts(file: WeightsFile) -> tuple[list[Mapping[str, Any]], Mapping[int, Mapping[str, Any]]]:
    """The groups and the states by number."""
    found = file.optimizer
    groups = found.get("param_groups") if isinstance(found, Mapping) else None
    states = found.get("state") if isinstance(found, Mapping) else None
    if not isinstance(groups, list) or not groups or not isinstance(states, Mapping):
        raise _refusal(file, "there is none")
    kept = {key: value for key, value in states.items() if isinstance(key, int) and isinstance(value, Mapping)}
    whole = all(isinstance(group, Mapping) and isinstance(group.get("params"), list) for group in groups)
    if not kept or not whole:
        raise _refusal(file, "it is of no optimizer that has begun")
    return groups, kept


def _row(file: WeightsFile, groups: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> TorchOptimizer:
    likely = [row for row in ROWS if row.fits(groups[0], state)]
    if not likely:
        raise _refusal(file, f"no optimizer here goes on with {', '.join(sorted(map(str, state)))}")
    different = {}
    for row in likely:
        wrong = [o for g in groups for o, value in row.fixed.items() if not _equal(g.get(o), value)]
        if not wrong:
            return row
        different[row.name] = wrong[0]
    name, option = next(iter(different.items()))
    raise _refusal(file, f"{name} here does not have its {option}, {groups[0].get(option)!r}")


def _names(file: WeightsFile, groups: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """The number and the name of each parameter."""
    numbers = [number for group in groups for number in group["params"]]
    shapes = {name: shape for name, shape in file.shapes.items() if name.rpartition(".")[2] not in _BUFFERS}
    names = list(shapes)
    if len(groups) == 2:
        plain, decayed = split_names(shapes)
        if len(groups[0]["params"]) == len(plain):
            names = [*plain, *decayed]
    if len(groups) > 2 or len(numbers) != len(names) or len(set(map(str, numbers))) != len(names):
        raise _refusal(
            file,
            f"its {len(groups)} groups have {len(numbers)} parameters, which are not timm's groups of {len(names)}",
        )
    return list(zip(numbers, names, strict=True))


def _numbers(row: TorchOptimizer, group: Mapping[str, Any]) -> dict[str, Any]:
    rate = group.get("initial_lr", group.get("lr"))
    found: dict[str, Any] = {"weight_decay": group.get("weight_decay", 0.0), "learning_rate": rate}
    for option, names in row.numbers.items():
        value = group[option]
        found |= dict(zip(names, value if isinstance(value, tuple) else (value,), strict=True))
    return found


def _step(
    file: WeightsFile, row: TorchOptimizer, groups: Sequence[Mapping[str, Any]], states: Mapping[int, Mapping[str, Any]]
) -> int:
    counted: Sequence[Mapping[str, Any]] = {"parameter": list(states.values()), "group": groups}.get(row.counts, [])
    steps = {_number(file, found.get("step")) for found in counted}
    if len(steps) > 1:
        raise _refusal(file, "its parameters took different numbers of steps")
    return steps.pop() if steps else 0


def _number(file: WeightsFile, value: Any) -> int:
    if isinstance(value, TorchTensor) and value.shape == ():
        value = file.tensor(value).item()
    if not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise _refusal(file, "it does not count its steps")
    return int(value)


def _equal(value: Any, expected: Any) -> bool:
    return type(value) in (bool, int, float) and bool(value == expected)


def _refusal(file: WeightsFile, why: str) -> UsageError:
    return UsageError(f"{FLAG}: {file.path}: its optimizer state cannot be used: {why}; leave out the flag")
