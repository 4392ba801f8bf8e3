"""Compares the contents of a checkpoint with the variables of a graph and loads them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import RunError
from utils.optimizer_table import STATE_PATTERN
from utils.weights.checkpoint_files import READ_ERRORS, damaged, open_checkpoint
from utils.weights.load_report import (
    MISSING,
    fate_of_loaded,
    load_table,
    same_numbers,
    why_unused,
)
from utils.weights.moving_averages import SUFFIX, name_of_average

Names = Callable[[Mapping[str, Sequence[int]]], Mapping[str, str]]
"""Function that returns the stored name of each variable, given the names and shapes in a checkpoint."""
Misfit = tuple[str, tuple[int, ...], tuple[int, ...]]
_VARIANCES = ("/moving_variance", ".running_var")


def by_name(stored: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Maps each variable to the same stored name."""
    return {name: name for name in stored}


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableMatch:
    """The result of matching a checkpoint with the variables of a graph.

    Attributes:
        prefix: Prefix of the checkpoint.
        sources: Stored name of each variable that can be loaded.
        missing: Variables that the checkpoint lacks.
        unused: Stored names that match no variable.
        reshaped: Loadable variables stored in another shape, a matrix for a 1x1 convolution or vice versa; with the
            stored and the wanted shape.
        misfits: Variables whose stored shape does not fit; with the stored and the wanted shape.
    """

    prefix: Path
    sources: Mapping[str, str]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    reshaped: tuple[Misfit, ...]
    misfits: tuple[Misfit, ...]

    @property
    def is_plain(self) -> bool:
        """Returns whether this project stored all loadable variables with their own names and shapes."""
        described = Path(f"{self.prefix}.json").exists()
        return described and not self.reshaped and all(name == source for name, source in self.sources.items())

    def table(self) -> str:
        """The load table: one line for each outcome."""
        shapes = {name: (stored, wanted) for name, stored, wanted in self.reshaped}
        fates = [fate_of_loaded(name, source, *shapes.get(name, ((), ()))) for name, source in self.sources.items()]
        fates += [(name, MISSING) for name in self.missing]
        used = set(self.sources.values())
        return load_table([*fates, *((name, why_unused(name, used)) for name in self.unused)])

    def require(self, names: Collection[str]) -> None:
        """Checks that the checkpoint has these variables and that stored shapes fit the network.

        Raises:
            RunError: A variable is missing or has another shape: the weights belong to another network.
        """
        if self.misfits:
            name, stored, wanted = self.misfits[0]
            raise RunError(
                f"{self.prefix}: {name} has shape {list(stored)}, but the requested network has {list(wanted)} "
                "(--num_classes, --arch)"
            )
        lacking = [name for name in self.missing if name in names]
        if lacking:
            roots = sorted({name.split("/")[0] for name in self.unused if "/" in name})
            holds = f"it holds variables of {', '.join(roots[:3])}" if roots else "it holds nothing else"
            raise RunError(f"{self.prefix}: has no variable {lacking[0]}; {holds} (--arch, --model_dir)")


def stored_shapes(prefix: Path) -> dict[str, Sequence[int]]:
    """The shape of every tensor in a checkpoint, by name.

    Raises:
        RunError: The checkpoint cannot be read.
    """
    shapes: dict[str, Sequence[int]] = open_checkpoint(prefix).get_variable_to_shape_map()
    return dict(sorted(shapes.items()))


def match_variables(prefix: Path, variables: Sequence[Any], names: Names = by_name) -> VariableMatch:
    """Compares a checkpoint's names and shapes with a graph's variables, without loading anything.

    Raises:
        RunError: The checkpoint cannot be read.
    """
    stored = stored_shapes(prefix)
    known = names(stored)
    shapes = {v.op.name: tuple(v.shape.as_list()) for v in variables}
    found = {name: tuple(stored[known[name]]) for name in shapes if known.get(name) in stored}
    sources = {name: known[name] for name, shape in found.items() if same_numbers(shape, shapes[name])}
    used = {known[name] for name in found}
    other = {name: (name, found[name], shapes[name]) for name in found if found[name] != shapes[name]}
    return VariableMatch(
        prefix=prefix,
        sources=sources,
        missing=tuple(name for name in shapes if name not in found),
        unused=tuple(name for name in stored if name not in used),
        reshaped=tuple(entry for name, entry in other.items() if name in sources),
        misfits=tuple(entry for name, entry in other.items() if name not in sources),
    )


def is_weight(name: str) -> bool:
    """Returns whether a name is that of a weight of the network, not of optimizer state or a moving average."""
    state = STATE_PATTERN.search(name) or name.endswith(SUFFIX) or name.startswith("loss_scale")
    return not state and name != "global_step"


def has_averages(stored: Iterable[str]) -> bool:
    """Returns whether a checkpoint with these names stores moving averages of the weights."""
    return any(name.endswith(SUFFIX) for name in stored)


def averages_or_raw(sources: Mapping[str, str], stored: Collection[str]) -> dict[str, str]:
    """The stored names for variables, replaced by those of their moving averages if they are stored."""
    averages = {name: name_of_average(source) for name, source in sources.items()}
    return {name: averages[name] if averages[name] in stored else source for name, source in sources.items()}


def load_matched(session: Any, saver: Any, variables: Sequence[Any], match: VariableMatch) -> None:
    """Loads the matched variables from a checkpoint; ``saver`` is a saver of ``variables``.

    Raises:
        RunError: The files are damaged, or a value is invalid.
    """
    if match.is_plain:
        restore(session, saver, match.prefix)
        for name, value in session.run({v.op.name: v for v in variables}).items():
            check_values(value, f"{match.prefix}: {name}")
    else:
        assign(session, variables, stored_values(match.prefix, match.sources))


def restore(session: Any, saver: Any, prefix: Path) -> None:
    """Restores the variables of a saver.

    Raises:
        RunError: The files are damaged.
    """
    open_checkpoint(prefix)
    try:
        with session.graph.as_default():
            saver.restore(session, str(prefix))
    except READ_ERRORS as error:
        raise damaged(prefix, error) from error


def stored_values(prefix: Path, sources: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The values of variables in a checkpoint, given their stored names.

    Raises:
        RunError: The files are damaged, or a value is invalid.
    """
    read = value_reader(prefix)
    values = {name: read(source) for name, source in sources.items()}
    for name, source in sources.items():
        check_values(values[name], f"{prefix}: {source}")
    return values


def value_reader(prefix: Path) -> Callable[[str], np.ndarray]:
    """Returns a function that reads values of a checkpoint by stored name; it raises ``RunError`` on damaged files."""
    reader = open_checkpoint(prefix)

    def read(name: str) -> np.ndarray:
        try:
            return np.asarray(reader.get_tensor(name))
        except READ_ERRORS as error:
            raise damaged(prefix, error, f"{name} cannot be read") from error

    return read


def check_values(array: np.ndarray, what: str) -> None:
    """Raises ``RunError`` if a value is not finite or a variance is negative; ReLUs would hide the consequences.

    Args:
        array: The values.
        what: Source of the values for messages; ends in the name of the tensor.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int(array.size - np.isfinite(array).sum())
        raise RunError(f"{what}: {count} of its {array.size} values are not finite; the weights are damaged")
    if what.endswith(_VARIANCES) and (array < 0).any():
        raise RunError(f"{what}: {int((array < 0).sum())} of its {array.size} values are negative; variances cannot be")


def assign(session: Any, variables: Sequence[Any], values: Mapping[str, np.ndarray]) -> None:
    """Assigns values to variables, reshaped to the shapes of the variables."""
    given = [(v.initializer, values[v.op.name].reshape(v.shape.as_list())) for v in variables if v.op.name in values]
    # All in one run: in a large graph, each run takes 50 ms.
    session.run([initializer for initializer, _ in given], {op.inputs[1]: value for op, value in given})
