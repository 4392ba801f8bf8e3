"""A new run that begins with weights of another: what is loaded, under which name, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from runtime.task import WarmStart
from utils.checkpoint_contents import assign, stored_shapes, stored_values
from utils.errors import RunError
from utils.load_report import (
    LOADED,
    MISSING,
    RENAMED,
    RESHAPED,
    is_own_state,
    load_table,
    renamed,
    reshaped,
    same_numbers,
    why_unused,
)

RESET = "new, as was asked"
REPLACED = "not used, new weights were asked for"
LEAST_SHARE = 0.5
"""Of a network's weights that a checkpoint must have, by number."""


def load_warm_start(
    session: Any,
    prefix: Path,
    variables: Sequence[Any],
    plan: Callable[[Mapping[str, Sequence[int]]], WarmStart],
    *,
    reset: bool,
) -> str:
    """Loads what a checkpoint has of a graph's weights.

    Args:
        session: Where the variables are initialized.
        prefix: The checkpoint.
        variables: The weights of the graph.
        plan: Says which stored tensor each variable begins with.
        reset: Leave replaceable variables as they are.

    Returns:
        A table for people: what was loaded, what begins anew, and what of the checkpoint was not used, and why.

    Raises:
        RunError: The checkpoint has less than half of the weights, or one of another shape, or is damaged.
    """
    stored = stored_shapes(prefix)
    warm_start = plan(stored)
    by_name = {v.op.name: v for v in variables}
    left_out = warm_start.replaceable if reset else frozenset()
    sources = {
        name: source
        for name, source in warm_start.sources.items()
        if name in by_name and source in stored and name not in left_out
    }
    _require_fit(prefix, stored, {name: (source, by_name[name]) for name, source in sources.items()}, warm_start)
    _require_enough(prefix, stored, sources, set(by_name) - left_out)
    values = stored_values(prefix, sources)
    for name, factor in warm_start.factors.items():
        if name in values:
            values[name] = values[name] * factor
    assign(session, variables, values)
    fates = [
        _fate(name, sources.get(name), stored, by_name[name], new=RESET if name in left_out else MISSING)
        for name in by_name
    ]
    replaced = {warm_start.sources[name] for name in left_out if name in warm_start.sources}
    unused = [name for name in stored if name not in sources.values()]
    return load_table([*fates, *((name, REPLACED if name in replaced else why_unused(name)) for name in unused)])


def _fate(
    name: str, source: str | None, stored: Mapping[str, Sequence[int]], variable: Any, *, new: str
) -> tuple[str, str]:
    """What a table says of a variable, and under which heading."""
    if source is None:
        return name, new
    wanted, there = tuple(variable.shape.as_list()), tuple(stored[source])
    if wanted != there:
        return reshaped(name, there, wanted), RESHAPED
    return (name, LOADED) if source == name else (renamed(name, source), RENAMED)


def _require_fit(
    prefix: Path, stored: Mapping[str, Sequence[int]], found: Mapping[str, tuple[str, Any]], warm_start: WarmStart
) -> None:
    """Makes sure that there is something to load, and that it has the shapes of its variables."""
    if not found:
        raise RunError(f"{prefix}: has none of the network's variables; {_holds(stored)}")
    for name, (source, variable) in found.items():
        wanted, there = tuple(variable.shape.as_list()), tuple(stored[source])
        if not same_numbers(there, wanted):
            what = f"{prefix}: {source} has shape {list(there)}, the network's {list(wanted)}"
            raise RunError(f"{what} ({_advice(name in warm_start.replaceable)})")


def _require_enough(
    prefix: Path, stored: Mapping[str, Sequence[int]], sources: Mapping[str, str], wanted: Set[str]
) -> None:
    """Refuses a checkpoint that few weights would come from: it is of another network."""
    weights = {name for name in wanted if not is_own_state(name)}
    found = len(weights & set(sources))
    if found < LEAST_SHARE * len(weights):
        raise RunError(
            f"{prefix}: has {found} of the network's {len(weights)} weights, less than half; {_holds(stored)}"
        )


def _holds(stored: Mapping[str, Sequence[int]]) -> str:
    roots = sorted({name.split("/")[0] for name in stored})
    return f"it holds variables of {', '.join(roots[:3])} (--finetune_checkpoint, --arch)"


def _advice(replaceable: bool) -> str:
    if replaceable:
        return "it was trained on other classes; --reset_head begins with new weights for these alone"
    return "--finetune_checkpoint, --arch, --num_classes"
