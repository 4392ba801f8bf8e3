"""The table of loaded weights: the outcome for each variable and each stored tensor."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from utils.optimizer_table import STATE_PATTERN
from utils.text import printable
from utils.weights.moving_averages import SUFFIX, name_of_average

LOADED = "loaded"
RENAMED = "loaded, stored under another name"
RESHAPED = "loaded, reshaped"
AVERAGE = "loaded, its moving average"
MISSING = "new, not in the checkpoint"
_ORDER = (LOADED, RENAMED, RESHAPED, AVERAGE)  # others follow in order of appearance
_NAMES_SHOWN = 3
_LONGEST_NAME = 300
_RANGE = re.compile(r"_quant/|^fake_quantization_step$")
_UNUSED = (  # patterns of stored names, and why those are not used
    (re.compile(r"^global_step"), "not used, training step"),
    (re.compile(rf"{STATE_PATTERN.pattern}|^loss_scale"), "not used, optimizer state"),
    (re.compile(f"{SUFFIX}$"), "not used, moving averages of the weights"),
    (_RANGE, "not used, quantization ranges"),
    (re.compile(r"num_batches_tracked$"), "not used, batch-norm counters"),
    (re.compile(r"^signal_handler_var"), "not used, state of the program that trained it"),
)
AVERAGED = "not used, replaced by its moving average"
_UNKNOWN = "not used, no variable matches it"


def why_unused(name: str, used: Collection[str] = ()) -> str:
    """The reason why a stored tensor is not loaded, given its name and the names of the loaded tensors."""
    if name_of_average(name) in used:
        return AVERAGED
    return next((reason for pattern, reason in _UNUSED if pattern.search(name)), _UNKNOWN)


def is_unknown(name: str) -> bool:
    """Returns whether an unused stored tensor is, by its name, a weight of another network."""
    return why_unused(name) == _UNKNOWN


def is_own_state(name: str) -> bool:
    """Returns whether a variable exists only in this project, so checkpoints of other programs may lack it."""
    return is_range(name) or name.endswith(SUFFIX)


def is_range(name: str) -> bool:
    """Returns whether a variable belongs to quantization: a range, its source, or the counter of the delay."""
    return _RANGE.search(name) is not None


def fate_of_loaded(name: str, source: str, stored: Sequence[int], wanted: Sequence[int]) -> tuple[str, str]:
    """The table entry of a loaded variable and its heading.

    Args:
        name: Name of the variable.
        source: Name of the stored tensor.
        stored: Shape of the stored tensor.
        wanted: Shape of the variable.
    """
    if tuple(stored) != tuple(wanted):
        return reshaped(name, stored, wanted), RESHAPED
    if source.endswith(SUFFIX) and not name.endswith(SUFFIX):
        return name, AVERAGE
    return (name, LOADED) if name == source else (renamed(name, source), RENAMED)


def load_table(fates: Iterable[tuple[str, str]]) -> str:
    """One line for each outcome: the number of variables and the first of their names.

    Args:
        fates: Pairs of a table entry and its outcome.
    """
    names: dict[str, list[str]] = {fate: [] for fate in _ORDER}
    for name, fate in fates:
        names.setdefault(fate, []).append(name)
    width = max(len(fate) for fate, found in names.items() if found) if any(names.values()) else 0
    return "\n".join(
        f"  {len(found):>5}  {fate:<{width}}  {_first(found)}".rstrip() for fate, found in names.items() if found
    )


def renamed(name: str, stored: str) -> str:
    """The entry of a variable with another name in the file."""
    return f"{name} from {stored}"


def reshaped(name: str, stored: Sequence[int], wanted: Sequence[int]) -> str:
    """The entry of a variable stored in another shape."""
    return f"{name} from {list(stored)} to {list(wanted)}"


def same_numbers(stored: Sequence[int], wanted: Sequence[int]) -> bool:
    """Returns whether two shapes are equal, or are those of a matrix and a 1x1 convolution with the same numbers."""
    first, second = tuple(stored), tuple(wanted)
    return first == second or (len(second) > 1 and first == (1, 1, *second)) or second == (1, 1, *first)


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name[:_LONGEST_NAME]) for name in names[:_NAMES_SHOWN])
    return f"{shown}, ..." if len(names) > _NAMES_SHOWN else shown
