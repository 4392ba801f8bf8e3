"""What is in a checkpoint, beside what a graph wants of it, and how it gets there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from utils.errors import RunError, reason
from utils.moving_averages import SUFFIX, name_of_average

tf1 = tf.compat.v1


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableMatch:
    """A checkpoint's variables beside a graph's, by name.

    Attributes:
        prefix: The checkpoint.
        loaded: What fits.
        missing: What the checkpoint lacks.
        unused: What it has and the graph does not want.
        reshaped: What has another shape, with the stored and the wanted one.
        sources: By the name of what fits, what it is called in the checkpoint.
        rewritten: What of it is the other form of a classifier there.
    """

    prefix: Path
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    sources: Mapping[str, str]
    rewritten: tuple[str, ...]

    @property
    def is_plain(self) -> bool:
        """Whether everything that fits has its own name and shape in the checkpoint."""
        return not self.rewritten and all(name == source for name, source in self.sources.items())

    def summary(self) -> str:
        """One line for the console."""
        return (
            f"{len(self.loaded)} variables loaded, {len(self.missing)} not in the checkpoint, "
            f"{len(self.unused)} of the checkpoint not used"
        )

    def require(self, names: Collection[str]) -> None:
        """Makes sure that these are in the checkpoint, and that what is has the network's shape.

        Raises:
            RunError: They are not: the weights are another network's.
        """
        if self.reshaped:
            name, stored, wanted = self.reshaped[0]
            raise RunError(
                f"{self.prefix}: {name} has shape {list(stored)}, the network that was asked for has {list(wanted)} "
                "(--num_classes, --arch)"
            )
        lacking = [name for name in self.missing if name in names]
        if lacking:
            roots = sorted({name.split("/")[0] for name in self.unused if "/" in name})
            holds = f"it holds variables of {', '.join(roots[:3])}" if roots else "it holds nothing else"
            raise RunError(f"{self.prefix}: has no variable {lacking[0]}; {holds} (--arch, --model_dir)")


def stored_shapes(prefix: Path) -> dict[str, Sequence[int]]:
    """The shape of everything in a checkpoint, by name.

    Raises:
        RunError: It cannot be read.
    """
    try:
        shapes: dict[str, Sequence[int]] = tf1.train.NewCheckpointReader(str(prefix)).get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError) as error:
        raise RunError(f"{prefix}: cannot be read as a checkpoint: {reason(error)} (--model_dir)") from error
    return shapes


def match_variables(prefix: Path, variables: Sequence[Any], *, averages: bool = False) -> VariableMatch:
    """Compares a checkpoint's names and shapes with a graph's variables, loading nothing.

    Args:
        prefix: The checkpoint.
        variables: The graph's.
        averages: Take the moving average of each variable that the checkpoint has one of.

    Raises:
        RunError: The checkpoint cannot be read.
    """
    stored = stored_shapes(prefix)
    shapes = {v.op.name: tuple(v.shape.as_list()) for v in variables}
    sources = {name: average_or_raw(name, stored) if averages else name for name in shapes}
    found = {name: tuple(stored[source]) for name, source in sources.items() if source in stored}
    loaded = tuple(name for name in found if found[name] == shapes[name] or one_classifier(found[name], shapes[name]))
    return VariableMatch(
        prefix=prefix,
        loaded=loaded,
        missing=tuple(name for name in shapes if name not in found),
        unused=tuple(name for name in stored if name not in sources.values()),
        reshaped=tuple((name, found[name], shapes[name]) for name in found if name not in loaded),
        sources={name: sources[name] for name in loaded},
        rewritten=tuple(name for name in loaded if found[name] != shapes[name]),
    )


def average_or_raw(name: str, stored: Collection[str]) -> str:
    """The moving average of a variable where a checkpoint of these names has it, else the variable itself."""
    average = name_of_average(name)
    return average if average in stored else name


def has_averages(stored: Iterable[str]) -> bool:
    """Whether a checkpoint of these names has moving averages of its weights."""
    return any(name.endswith(SUFFIX) for name in stored)


def is_weight(name: str) -> bool:
    """Whether a variable is the network's own, by its name: no state of an optimizer, and no average of another."""
    state = name.endswith(("/Momentum", SUFFIX)) or name.startswith("loss_scale")
    return not state and name != "global_step"


def one_classifier(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two shapes are the two forms of one classifier: a matrix [C, K], and the kernel [1, 1, C, K]."""
    short, long = sorted((tuple(shape), tuple(other)), key=len)
    return len(short) == 2 and long == (1, 1, *short)


def load(session: Any, saver: Any, variables: Sequence[Any], match: VariableMatch) -> None:
    """Gives variables what was found for them.

    Args:
        session: Their session.
        saver: Restores them all by their own names.
        variables: Those of which ``match`` tells.
        match: What fits; all of them.

    Raises:
        RunError: The files are damaged.
    """
    if match.is_plain:
        restore(session, saver, match.prefix)
        return
    reader = tf1.train.NewCheckpointReader(str(match.prefix))
    values = {name: read_tensor(reader, match.prefix, source) for name, source in match.sources.items()}
    assign(session, variables, values)


def assign(session: Any, variables: Sequence[Any], values: Mapping[str, np.ndarray]) -> None:
    """Gives variables new values, in the shapes that they have."""
    given = [(v.initializer, values[v.op.name].reshape(v.shape.as_list())) for v in variables if v.op.name in values]
    # All in one run: in a large graph each run of its own takes 50 ms.
    session.run([initializer for initializer, _ in given], {op.inputs[1]: value for op, value in given})


def read_tensor(reader: Any, prefix: Path, name: str) -> np.ndarray:
    """A value of a checkpoint.

    Raises:
        RunError: The files are damaged.
    """
    try:
        value: np.ndarray = reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, IndexError) as error:  # the last where the file ends early
        raise RunError(f"{prefix}: {name} cannot be read: {error}; the checkpoint is damaged") from error
    return value


def restore(session: Any, saver: Any, prefix: Path) -> None:
    """Loads the saver's variables.

    Raises:
        RunError: The files are damaged.
    """
    try:
        with session.graph.as_default():
            saver.restore(session, str(prefix))
    except (tf.errors.OpError, ValueError) as error:
        raise RunError(f"{prefix}: the checkpoint is damaged: {reason(error)} (--model_dir)") from error
