"""From the tensors of a file to all variables of a network: names, layouts, and what to say where they do not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tools.weights.weights_file import WeightsFile
from utils.errors import RunError, UsageError
from utils.optimizer_table import STATE, slot_names
from utils.weights.checkpoint_contents import averages_or_raw, check_values, is_weight
from utils.weights.load_report import (
    fate_of_loaded,
    is_range,
    is_unknown,
    load_table,
    same_numbers,
    why_unused,
)
from utils.weights.moving_averages import name_of_average

Shape = tuple[int, ...]
LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network that a file may hold.

    Attributes:
        architecture: Its name.
        wanted: The shape of each of its variables, those of the head for the classes that the file has.
        sources: The name in the file for each variable, whether it is there or not.
        head: The variables whose shapes depend on the number of classes.
        state: What goes along beside the variables, by the name that it gets: the stored name.
    """

    architecture: str
    wanted: Mapping[str, Shape]
    sources: Mapping[str, str]
    head: frozenset[str]
    state: Mapping[str, str] = field(default_factory=dict)


def our_shape(shape: Sequence[int], *, torch: bool) -> Shape:
    """The shape of a stored tensor in this project's layouts."""
    stored = tuple(shape)
    if not torch:
        return stored
    if len(stored) == 4:
        return (*stored[2:], stored[1], stored[0])
    return stored[::-1]


def our_array(array: np.ndarray, shape: Shape, *, torch: bool) -> np.ndarray:
    """The values of a stored tensor in this project's layout and shape, as float32."""
    if torch and array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
    elif torch:
        array = array.T
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused for that
        return np.ascontiguousarray(array, dtype=np.float32).reshape(shape)


def likeliest(file: WeightsFile, candidates: Sequence[Candidate]) -> str | None:
    """The architecture that the tensors fit best, the head aside; None where none has half of its variables.

    What fits counts as a share of the variables and of the tensors that are not among them, together.
    """
    found = {}
    for candidate in candidates:
        body = [name for name in candidate.wanted if name not in candidate.head]
        fitting = sum(_fits(file, candidate, name) for name in body)
        if fitting > LEAST_SHARE * len(body):
            found[candidate.architecture] = fitting / (len(body) + len(_without_place(file, candidate)))
    return max(found, key=found.__getitem__) if found else None


def _without_place(file: WeightsFile, candidate: Candidate) -> list[str]:
    """Tensors that are weights, as far as their names tell, but none of the network's."""
    used = set(candidate.sources.values())
    if not file.is_torch:
        used = {candidate.sources.get(name, name) for name in candidate.wanted}
    return [name for name in file.shapes if not {name, name_of_average(name)} & used and is_unknown(name)]


def _fits(file: WeightsFile, candidate: Candidate, name: str) -> bool:
    source = candidate.sources.get(name, name)
    stored = file.shapes.get(source)
    return stored is not None and same_numbers(our_shape(stored, torch=file.is_torch), candidate.wanted[name])


def with_state(file: WeightsFile, candidate: Candidate, *, ranges: bool, averaged: bool, to: str) -> Candidate:
    """A candidate with what goes along beside its variables, of a TensorFlow checkpoint.

    Args:
        file: The weights.
        candidate: The network.
        ranges: Whether it quantizes, so that it is nothing without its ranges.
        averaged: Whether moving averages are taken where there are any.
        to: "nvidia" takes along all ranges, the state of the optimizer and the step too; "here" begins a run anew.
    """
    if file.is_torch:
        return candidate
    state: dict[str, str] = {}
    if ranges or to == "nvidia":
        names = {name: name for name in file.shapes if is_range(name) and is_weight(name)}
        state |= averages_or_raw(names, file.shapes) if averaged else names
    if to == "nvidia":
        slots = [slot for variable in candidate.wanted for slot in slot_names(variable) if slot in candidate.sources]
        state |= {slot: candidate.sources[slot] for slot in slots}
        state |= {name: name for name in file.shapes if name in ("global_step", *STATE)}
    return dataclasses.replace(candidate, state=state)


def convert(file: WeightsFile, candidate: Candidate, others: Sequence[Candidate]) -> tuple[dict[str, np.ndarray], str]:
    """All variables of a network from a file.

    Args:
        file: The weights.
        candidate: The network.
        others: What else the file may hold, for the sentence that says so.

    Returns:
        Values by variable, and a table of what was loaded and what not.

    Raises:
        UsageError: The file holds another network.
        RunError: It lacks a variable, has one of another shape, one too many, or one that is not finite.
    """
    _check(file, candidate, others)
    values, fates = {}, []
    for name, shape in candidate.wanted.items():
        source = candidate.sources[name]
        array = file.read(source)
        if array.dtype.kind != "f":
            raise RunError(f"{file.path}: {source} holds {array.dtype} numbers; weights are floating-point numbers")
        array = our_array(array, shape, torch=file.is_torch)
        check_values(array, f"{file.path}: {source}")
        values[name] = array
        fates.append(fate_of_loaded(name, source, our_shape(file.shapes[source], torch=file.is_torch), shape))
    for name, source in candidate.state.items():
        values[name] = file.read(source)
        check_values(values[name], f"{file.path}: {source}")
        fates.append(fate_of_loaded(name, source, (), ()))
    used = {candidate.sources[name] for name in candidate.wanted} | set(candidate.state.values())
    fates += [(name, why_unused(name, used)) for name in file.shapes if name not in used]
    return values, load_table(fates)


def _check(file: WeightsFile, candidate: Candidate, others: Sequence[Candidate]) -> None:
    wanted, sources = candidate.wanted, candidate.sources
    likely = likeliest(file, [candidate, *others])
    if likely != candidate.architecture:
        looks = f"its names and shapes are those of {likely}" if likely else _no_network(file, candidate)
        raise UsageError(f"--arch {candidate.architecture}: {file.path} holds another network: {looks}")
    missing = [name for name in wanted if sources.get(name, name) not in file.shapes]
    if missing:
        lacking = sources.get(missing[0], missing[0])
        raise RunError(
            f"{file.path}: has no {lacking}, which {candidate.architecture} needs ({len(missing)} of {len(wanted)} "
            "tensors are missing)"
        )
    for name, shape in wanted.items():
        stored = our_shape(file.shapes[sources[name]], torch=file.is_torch)
        if not same_numbers(stored, shape):
            raise RunError(_misfit(file, sources[name], shape))
    unknown = _without_place(file, candidate)
    if unknown and file.is_torch:
        raise RunError(
            f"{file.path}: has {unknown[0]}, for which {candidate.architecture} has no place ({len(unknown)} such "
            "tensors); without them it would compute something else"
        )


def _no_network(file: WeightsFile, candidate: Candidate) -> str:
    """Describe the first difference of a file that holds none of the networks."""
    for name, shape in candidate.wanted.items():
        source = candidate.sources.get(name, name)
        if source in file.shapes and not _fits(file, candidate, name):
            return _misfit(file, source, shape)
    first = next(iter(candidate.sources.values()), "")
    there = ", ".join(list(file.shapes)[:3])
    return f"it has no {first}, but {there}" if there else "it holds no tensors"


def _misfit(file: WeightsFile, source: str, shape: Shape) -> str:
    stored = tuple(file.shapes[source])
    wanted = (shape[3], shape[2], *shape[:2]) if file.is_torch and len(shape) == 4 else shape
    wanted = shape[::-1] if file.is_torch and len(shape) != 4 else wanted
    transposed = stored != wanted and sorted(stored) == sorted(wanted)
    hint = "; it seems to be transposed" if transposed else ""
    return f"{file.path}: {source} has shape {list(stored)}, the network's {list(wanted)}{hint}"
