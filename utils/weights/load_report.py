"""The table of weights that were loaded: what became of each variable."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from utils.optimizer_table import STATE_PATTERN
from utils.weights.moving_averages import SUFFIX, name_of_average

LOADED = "loaded"
RENAMED = "loaded, under another name there"
RESHAPED = "loaded, reshaped"
AVERAGE = "loaded, its moving average"
MISSING = "new, not in the checkpoint"
_ORDER = (LOADED, RENAMED, RESHAPED, AVERAGE)  # the others follow in the order in which they come
_NAMES_SHOWN = 3
_OPTIMIZER = "not used, the state of the optimizer that trained it"
_RANGE = re.compile(r"_quant/|^fake_quantization_step$")
_UNUSED = (  # what stored names match, and why those are not used
    (re.compile(rf"{STATE_PATTERN.pattern}|^global_step|^loss_scale"), _OPTIMIZER),
    (re.compile(f"{SUFFIX}$"), "not used, averages of the weights"),
    (_RANGE, "not used, ranges of quantization"),
    (re.compile(r"num_batches_tracked$"), "not used, counters of batch normalization"),
    (re.compile(r"^signal_handler_var"), "not used, the state of the program that trained it"),
)
AVERAGED = "not used, its moving average is"
_UNKNOWN = "not used, nothing here begins with it"


def why_unused(name: str, used: Collection[str] = ()) -> str:
    """Why a stored tensor is not loaded, by its name and by those of the tensors that are."""
    if name_of_average(name) in used:
        return AVERAGED
    return next((reason for pattern, reason in _UNUSED if pattern.search(name)), _UNKNOWN)


def is_unknown(name: str) -> bool:
    """Return whether a stored tensor that is not loaded is a weight of another network, as far as its name tells."""
    return why_unused(name) == _UNKNOWN


def is_own_state(name: str) -> bool:
    """Return whether the weights of another program cannot have a variable, so that lacking it means little."""
    return is_range(name) or name.endswith(SUFFIX)


def is_range(name: str) -> bool:
    """Return whether a variable belongs to quantization: a range, what it follows from, or the counter of the delay."""
    return _RANGE.search(name) is not None


def fate_of_loaded(name: str, source: str, stored: Sequence[int], wanted: Sequence[int]) -> tuple[str, str]:
    """The entry of a variable that was loaded, and its heading in the table.

    Args:
        name: The variable.
        source: The stored tensor's name.
        stored: The stored tensor's shape.
        wanted: The variable's shape.
    """
    if tuple(stored) != tuple(wanted):
        return reshaped(name, stored, wanted), RESHAPED
    if source.endswith(SUFFIX) and not name.endswith(SUFFIX):
        return name, AVERAGE
    return (name, LOADED) if name == source else (renamed(name, source), RENAMED)


def load_table(fates: Iterable[tuple[str, str]]) -> str:
    """One line for each fate: how many variables met it, and the first of their names.

    Args:
        fates: Names, or what is to be shown of them, each with what became of it.
    """
    names: dict[str, list[str]] = {fate: [] for fate in _ORDER}
    for name, fate in fates:
        names.setdefault(fate, []).append(name)
    width = max(len(fate) for fate, found in names.items() if found) if any(names.values()) else 0
    return "\n".join(
        f"  {len(found):>5}  {fate:<{width}}  {_first(found)}".rstrip() for fate, found in names.items() if found
    )


def renamed(name: str, stored: str) -> str:
    """The entry of a variable that has another name in the file."""
    return f"{name} from {stored}"


def reshaped(name: str, stored: Sequence[int], wanted: Sequence[int]) -> str:
    """The entry of a variable whose numbers are stored in another shape."""
    return f"{name} from {list(stored)} to {list(wanted)}"


def same_numbers(stored: Sequence[int], wanted: Sequence[int]) -> bool:
    """Return whether two shapes are equal, or those of a matrix and of a 1x1 convolution with the same numbers."""
    first, second = tuple(stored), tuple(wanted)
    return first == second or (len(second) > 1 and first == (1, 1, *second)) or second == (1, 1, *first)


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return f"{shown}, ..." if len(names) > _NAMES_SHOWN else shown
