"""A new run that begins with weights of another: what is loaded, under which name, and what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.task import WarmStart
from utils.checkpoint_contents import stored_shapes
from utils.errors import RunError

tf1 = tf.compat.v1

LOADED, NEW, RESET = "loaded", "new, not in the checkpoint", "new, as was asked"
_TABLE_DEPTH = 2  # parts of a variable's name that a line of the table stands for


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
        RunError: The checkpoint has none of the weights, or one of another shape, or is damaged.
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
    _require_fit(prefix, stored, {source: by_name[name] for name, source in sources.items()}, warm_start)
    reader = tf1.train.NewCheckpointReader(str(prefix))
    values = {
        by_name[name].initializer: _value(reader, prefix, source, warm_start.factors.get(name))
        for name, source in sources.items()
    }
    # All in one run: in a large graph each run of its own takes 50 ms.
    session.run(list(values), {initializer.inputs[1]: value for initializer, value in values.items()})
    fates = [(name, LOADED if name in sources else RESET if name in left_out else NEW) for name in by_name]
    replaced = {warm_start.sources[name] for name in left_out if name in warm_start.sources}
    unused = [name for name in stored if name not in sources.values()]
    return _table([*fates, *((name, _why_unused(name, replaced)) for name in unused)])


def _why_unused(name: str, replaced: Set[str]) -> str:
    if name in replaced:
        return "not used, new weights were asked for"
    if "Momentum" in name.split("/")[-1] or name.startswith(("global_step", "loss_scale")):
        return "not used, the state of the optimizer that trained it"
    return "not used, nothing here begins with it"


def _require_fit(
    prefix: Path, stored: Mapping[str, Sequence[int]], by_source: Mapping[str, Any], warm_start: WarmStart
) -> None:
    """Makes sure that there is something to load, and that it has the shapes of its variables."""
    if not by_source:
        roots = sorted({name.split("/")[0] for name in stored})
        raise RunError(
            f"{prefix}: has none of the network's variables; it holds variables of {', '.join(roots[:3])} "
            "(--finetune_checkpoint, --arch)"
        )
    for source, variable in by_source.items():
        wanted, there = tuple(variable.shape.as_list()), tuple(stored[source])
        if wanted != there:
            what = f"{prefix}: {source} has shape {list(there)}, the network's {list(wanted)}"
            raise RunError(f"{what} ({_advice(variable.op.name in warm_start.replaceable)})")


def _advice(replaceable: bool) -> str:
    if replaceable:
        return "it was trained on other classes; --reset_head begins with new weights for these alone"
    return "--finetune_checkpoint, --arch, --num_classes"


def _value(reader: Any, prefix: Path, source: str, factor: np.ndarray | None) -> np.ndarray:
    try:
        value: np.ndarray = reader.get_tensor(source)
    except (tf.errors.OpError, ValueError, IndexError) as error:  # the last where the file ends early
        raise RunError(f"{prefix}: {source} cannot be read: {error}; the checkpoint is damaged") from error
    return value if factor is None else value * factor


def _table(fates: Sequence[tuple[str, str]]) -> str:
    """One line for each kind of fate and part of the network."""
    parts = Counter(("/".join(name.split("/")[:_TABLE_DEPTH]), fate) for name, fate in fates)
    width = max(len(part) for part, _ in parts)
    return "\n".join(f"  {part:<{width}}  {count:>4}  {fate}" for (part, fate), count in sorted(parts.items()))
