"""A new run that begins with weights of another: what is loaded, under which name, and what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.task import WarmStart
from utils.checkpoint_contents import (
    assign,
    average_or_raw,
    is_weight,
    one_classifier,
    read_tensor,
    stored_shapes,
)
from utils.errors import RunError
from utils.moving_averages import name_of_average

tf1 = tf.compat.v1

LOADED, NEW, RESET = "loaded", "new, not in the checkpoint", "new, as was asked"
AVERAGE, OTHER_CLASSES = "loaded, its moving average", "new, of other classes in the checkpoint"
_TABLE_DEPTH = 2  # parts of a variable's name that a line of the table stands for


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStarted:
    """What a new run began with.

    Attributes:
        table: For people: what was loaded, what begins anew, and what of the checkpoint was not used, and why.
        loaded: The variables that were loaded.
        other_classes: Whether the layer that tells classes begins anew because the checkpoint has other ones.
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
    """Loads what a checkpoint has of a graph's weights: their moving averages where it keeps them.

    What tells classes begins anew where the checkpoint tells another number of them.

    Args:
        session: Where the variables are initialized.
        prefix: The checkpoint.
        variables: The weights of the graph.
        plan: Says which stored tensor each variable begins with.
        reset: Leave replaceable variables as they are.

    Raises:
        RunError: The checkpoint has none of the weights, or one of another shape, or is damaged.
    """
    stored = stored_shapes(prefix)
    warm_start = plan(stored)
    by_name = {v.op.name: v for v in variables}
    sources = {name: source for name, source in warm_start.sources.items() if name in by_name and source in stored}
    others = {name for name in warm_start.replaceable & set(sources) if not _fits(stored, sources[name], by_name[name])}
    begun = dict.fromkeys(warm_start.replaceable, RESET if reset else OTHER_CLASSES) if reset or others else {}
    replaced = {sources.pop(name): fate for name, fate in begun.items() if name in sources}
    sources = {name: average_or_raw(source, stored) for name, source in sources.items()}
    _require_fit(prefix, stored, {source: by_name[name] for name, source in sources.items()})
    reader = tf1.train.NewCheckpointReader(str(prefix))
    values = {name: _value(reader, prefix, source, warm_start.factors.get(name)) for name, source in sources.items()}
    assign(session, variables, values)
    fates = [(name, _fate(name, sources) or begun.get(name, NEW)) for name in by_name]
    unused = [name for name in stored if name not in sources.values()]
    return WarmStarted(
        table=_table([*fates, *((name, _why_unused(name, replaced, sources.values())) for name in unused)]),
        loaded=frozenset(sources),
        other_classes=bool(others) and not reset,
    )


def class_renamed(stored: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """A sentence about the first class that another run's metadata calls otherwise than this one's, or None."""
    theirs, ours = (found.get("data_class_names") or found.get("class_names") or () for found in (stored, here))
    for index, (their, our) in enumerate(zip(theirs, ours, strict=False)):
        if their != our:
            return f"its class {index} is {their!r}, here it is {our!r}"
    return None


def _fate(name: str, sources: Mapping[str, str]) -> str | None:
    if name not in sources:
        return None
    return LOADED if is_weight(sources[name]) else AVERAGE


def _why_unused(name: str, replaced: Mapping[str, str], used: Collection[str]) -> str:
    if name in replaced:
        return "not used, new weights were asked for" if replaced[name] == RESET else "not used, of other classes"
    if name_of_average(name) in used:
        return "not used, its moving average is"
    if "Momentum" in name.split("/")[-1] or name.startswith(("global_step", "loss_scale")):
        return "not used, the state of the optimizer that trained it"
    return "not used, nothing here begins with it"


def _fits(stored: Mapping[str, Sequence[int]], source: str, variable: Any) -> bool:
    wanted, there = variable.shape.as_list(), list(stored[source])
    return wanted == there or one_classifier(wanted, there)


def _require_fit(prefix: Path, stored: Mapping[str, Sequence[int]], by_source: Mapping[str, Any]) -> None:
    """Makes sure that there is something to load, and that it has the shapes of its variables."""
    if not by_source:
        roots = sorted({name.split("/")[0] for name in stored})
        raise RunError(
            f"{prefix}: has none of the network's variables; it holds variables of {', '.join(roots[:3])} "
            "(--finetune_checkpoint, --arch)"
        )
    for source, variable in by_source.items():
        if not _fits(stored, source, variable):
            raise RunError(
                f"{prefix}: {source} has shape {list(stored[source])}, the network's {variable.shape.as_list()} "
                "(--finetune_checkpoint, --arch, --num_classes)"
            )


def _value(reader: Any, prefix: Path, source: str, factor: np.ndarray | None) -> np.ndarray:
    value = read_tensor(reader, prefix, source)
    if not np.isfinite(value).all():
        raise RunError(f"{prefix}: {source} is not finite; the weights are of no use (--finetune_checkpoint)")
    return value if factor is None else value * factor


def _table(fates: Sequence[tuple[str, str]]) -> str:
    """One line for each kind of fate and part of the network."""
    parts = Counter(("/".join(name.split("/")[:_TABLE_DEPTH]), fate) for name, fate in fates)
    width = max(len(part) for part, _ in parts)
    return "\n".join(f"  {part:<{width}}  {count:>4}  {fate}" for (part, fate), count in sorted(parts.items()))
