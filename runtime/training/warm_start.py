"""The warm start of a new run from the weights of another checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.task import WarmStart
from utils.errors import RunError
from utils.weights.checkpoint_contents import assign, averages_or_raw, stored_shapes, stored_values
from utils.weights.load_report import (
    MISSING,
    fate_of_loaded,
    is_own_state,
    load_table,
    same_numbers,
    why_unused,
)

RESET, REPLACED = "new, as requested", "not used, new weights were requested"
OTHER_CLASSES, OF_OTHER_CLASSES = "new, the checkpoint has other classes", "not used, for other classes"
LEAST_SHARE = 0.5
"""Least fraction of a network's weights, by number, that a checkpoint must contain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStarted:
    """The result of a warm start.

    Attributes:
        table: The load table: loaded variables, new variables, and unused tensors with the reasons.
        loaded: The loaded variables.
        other_classes: Whether the classification layer starts with new weights because the checkpoint has other
            classes.
    """

    table: str
    loaded: frozenset[str]
    other_classes: bool


def load_warm_start(
    session: Any,
    prefix: Path,
    variables: Sequence[Any],
    plan: Callable[[Mapping[str, Sequence[int]]], WarmStart],
    *,
    reset: bool,
) -> WarmStarted:
    """Loads the weights of a graph from a checkpoint, using its moving averages if it stores them.

    A warm start fails if fewer than half of the weights match, or of the backbone's if the checkpoint is that of a
    classifier. A head for other classes starts with new weights.

    Args:
        session: Session with initialized variables.
        prefix: Prefix of the checkpoint.
        variables: The weights of the graph.
        plan: Returns the stored tensor for each variable.
        reset: Do not load replaceable variables.

    Raises:
        RunError: Fewer than half of the weights match, one has another shape, or the checkpoint is damaged.
    """
    stored = stored_shapes(prefix)
    warm_start = plan(stored)
    by_name = {v.op.name: v for v in variables}
    sources = {name: source for name, source in warm_start.sources.items() if name in by_name and source in stored}
    others = {
        name for name in warm_start.replaceable & set(sources) if _other_classes(stored, sources[name], by_name[name])
    }
    left_out = warm_start.replaceable if reset or others else frozenset()
    new, unwanted = (RESET, REPLACED) if reset else (OTHER_CLASSES, OF_OTHER_CLASSES)
    replaced = {sources.pop(name) for name in left_out if name in sources}
    sources = averages_or_raw(sources, stored)
    _require_fit(prefix, stored, {name: (source, by_name[name]) for name, source in sources.items()})
    _require_enough(prefix, stored, sources, set(by_name) & (warm_start.provided or set(by_name)) - left_out)
    values = stored_values(prefix, sources)
    for name, factor in warm_start.factors.items():
        if name in values:
            values[name] = values[name] * factor
    assign(session, variables, values)
    fates = [
        _fate(name, sources.get(name), stored, by_name[name], new=new if name in left_out else MISSING)
        for name in by_name
    ]
    used = set(sources.values())
    rest = [(name, unwanted if name in replaced else why_unused(name, used)) for name in stored if name not in used]
    return WarmStarted(
        table=load_table([*fates, *rest]), loaded=frozenset(sources), other_classes=bool(others) and not reset
    )


def class_renamed(stored: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """A sentence about the first class whose name differs between the two descriptions, or None."""
    theirs, ours = (found.get("data_class_names") or found.get("class_names") or () for found in (stored, here))
    for index, (their, our) in enumerate(zip(theirs, ours, strict=False)):
        if their != our:
            return f"its class {index} is {their!r}, but here it is {our!r}"
    return None


def _shape_fits(stored: Mapping[str, Sequence[int]], source: str, variable: Any) -> bool:
    return same_numbers(stored[source], variable.shape.as_list())


def _other_classes(stored: Mapping[str, Sequence[int]], source: str, variable: Any) -> bool:
    """Returns whether a stored tensor of a head differs from a variable only in its last axis, that of the classes."""
    shapes = [tuple(shape) for shape in (stored[source], variable.shape.as_list())]
    theirs, ours = (shape[2:] if shape[:2] == (1, 1) and len(shape) == 4 else shape for shape in shapes)
    return theirs[:-1] == ours[:-1] and theirs != ours


def _fate(
    name: str, source: str | None, stored: Mapping[str, Sequence[int]], variable: Any, *, new: str
) -> tuple[str, str]:
    """The name and the heading of a variable in the load table."""
    if source is None:
        return name, new
    return fate_of_loaded(name, source, stored[source], variable.shape.as_list())


def _require_fit(prefix: Path, stored: Mapping[str, Sequence[int]], found: Mapping[str, tuple[str, Any]]) -> None:
    """Checks that there is something to load and that shapes fit."""
    if not found:
        raise RunError(f"{prefix}: has none of the network's variables; {_contents(stored)}")
    for source, variable in found.values():
        if not _shape_fits(stored, source, variable):
            raise RunError(
                f"{prefix}: {source} has shape {list(stored[source])}, the network needs {variable.shape.as_list()} "
                "(--finetune_checkpoint, --arch, --num_classes)"
            )


def _require_enough(
    prefix: Path, stored: Mapping[str, Sequence[int]], sources: Mapping[str, str], wanted: Set[str]
) -> None:
    """Rejects a checkpoint with fewer than half of the weights ``wanted``: it belongs to another network."""
    weights = {name for name in wanted if not is_own_state(name)}
    found = len(weights & set(sources))
    if found < LEAST_SHARE * len(weights):
        raise RunError(
            f"{prefix}: has {found} of the network's {len(weights)} weights, less than half; {_contents(stored)}"
        )


def _contents(stored: Mapping[str, Sequence[int]]) -> str:
    roots = sorted({name.split("/")[0] for name in stored})
    return f"it holds variables of {', '.join(roots[:3])} (--finetune_checkpoint, --arch)"
