"""The choices of a training run on a CPU between formulations of its convolutions: measured, recorded or built-in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model.specs import ChosenConvolution
from utils.convolution_table import COMMAND, Fault, Machine, Names, read_table, require_usable
from utils.errors import RunError
from utils.system.machine import BFLOAT16_FEATURES
from utils.text import plural

BUILT_IN = "built-in"
_RECORDED = "convolutions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolutions:
    """The choices of a run besides the built-in rules.

    Attributes:
        origin: Where they are from, in words for people.
        chosen: Formulations by the key of a convolution.
        measured: Those of the table of this machine, which a resumed run does not follow.
        resumed: Whether the choices are those of an earlier launch of the run.
        notes: Sentences for the log.
    """

    origin: str = "TensorFlow's own"
    chosen: Mapping[str, Names] = field(default_factory=dict)
    measured: Mapping[str, Names] = field(default_factory=dict)
    resumed: bool = False
    notes: tuple[str, ...] = ()


def choose_convolutions(machine: Machine, metadata: Mapping[str, Any], fault_of: Fault) -> Convolutions:
    """The choices of a launch: those that its run began with, else the measured ones of this machine.

    Args:
        machine: This machine.
        metadata: The description of the checkpoint that training continues from; empty without one.
        fault_of: Finds faults in choices.
    """
    origin, notes = BUILT_IN, []
    measured: Mapping[str, Names] = {}
    try:
        table = read_table(machine, fault_of)
    except RunError as error:
        table = None
        notes.append(f"{error}; this run does not use the table")
    if table is not None:
        origin, measured = (
            f"measured {table.measured} on this machine ({plural(len(table.choices), 'shape')})",
            table.choices,
        )
    if "position" not in metadata:  # no run of this program that goes on
        return Convolutions(origin=origin, chosen=measured, measured=measured, notes=tuple(notes))
    recorded = {key: tuple(names) for key, names in (metadata.get(_RECORDED) or {}).items()}
    try:
        require_usable(recorded, fault_of)
    except ValueError as error:
        recorded = {}
        notes.append(
            f"the checkpoint records a choice of convolutions that this program does not know ({error}); the built-in "
            "rules choose from here on, which round differently"
        )
    origin = f"measured ({plural(len(recorded), 'shape')}), as recorded in the checkpoint" if recorded else BUILT_IN
    return Convolutions(origin=origin, chosen=recorded, measured=measured, resumed=True, notes=tuple(notes))


def kind_of_cpu(features: frozenset[str]) -> str:
    """The kind of CPU that the built-in rules distinguish, by its instruction sets."""
    if features & BFLOAT16_FEATURES:
        return "bfloat16"
    return "avx512" if "avx512f" in features else "avx2"


def choices_to_store(used: Iterable[ChosenConvolution], later: Convolutions | None = None) -> dict[str, Any]:
    """The entry for the description of a checkpoint: choices that the built-in rules would not make, if any.

    Args:
        used: The convolutions of the training graph.
        later: Choices for graphs to come, if the run has several.
    """
    unusual = {key: list(names) for key, names in later.chosen.items()} if later is not None else {}
    unusual |= {one.key: list(one.names) for one in used if one.names != one.rules}
    return {_RECORDED: unusual} if unusual else {}


def notes_on_use(convolutions: Convolutions, used: Iterable[ChosenConvolution]) -> list[str]:
    """Sentences about choices of a network that a reader of the log may not expect.

    Args:
        convolutions: The choices of the launch.
        used: The convolutions of its training graph.
    """
    now, measured = {one.key: one for one in used}, convolutions.measured
    if convolutions.resumed:
        others = sum(measured.get(key, one.rules) != one.names for key, one in now.items())
        return [
            f"the run goes on with the convolutions that it began with; a new run on this machine would choose others "
            f"for {others} of {plural(len(now), 'shape')}"
        ] * bool(others)
    missing = len(now.keys() - measured.keys()) if measured else 0
    return [
        f"the measured table has no entry for {missing} of {plural(len(now), 'shape')} of convolutions in this "
        f"network; the built-in rules choose these, and {COMMAND} with the --arch, --batch_size and --amp of the run "
        "measures them"
    ] * bool(missing)
