"""What is in a checkpoint, beside what a graph wants of it, and how it gets there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from utils.errors import RunError, reason

tf1 = tf.compat.v1


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableMatch:
    """A checkpoint's variables beside a graph's, by name; ``reshaped`` with the stored and the wanted shape."""

    prefix: Path
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

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


def match_variables(prefix: Path, variables: Sequence[Any]) -> VariableMatch:
    """Compares a checkpoint's names and shapes with a graph's variables, loading nothing.

    Raises:
        RunError: The checkpoint cannot be read.
    """
    stored = stored_shapes(prefix)
    shapes = {v.op.name: tuple(v.shape.as_list()) for v in variables}
    found = {name: tuple(stored[name]) for name in shapes if name in stored}
    return VariableMatch(
        prefix=prefix,
        loaded=tuple(name for name in found if found[name] == shapes[name]),
        missing=tuple(name for name in shapes if name not in stored),
        unused=tuple(name for name in stored if name not in shapes),
        reshaped=tuple((name, found[name], shapes[name]) for name in found if found[name] != shapes[name]),
    )


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
