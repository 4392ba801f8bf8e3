"""Converts the tensors of a file to the variables of a network: names, layouts, and messages on misfits."""

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
        wanted: The shape of each of its variables; the head's shapes follow the file's number of classes.
        sources: The name in the file for each variable, present or not.
        head: The variables whose shapes depend on the number of classes.
        state: Stored names of further tensors to convert, by their new names.
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
    with np.errstate(over="ignore"):  # too large values become infinite and are refused later
        return np.ascontiguousarray(array, dtype=np.float32).reshape(shape)


def likeliest(file: WeightsFile, candidates: Sequence[Candidate]) -> str | None:
    """The architecture that the tensors fit best, ignoring the head; None if none has half of its variables.

    The score is the share of fitting variables among all variables and all unknown tensors.
    """
    found = {}
    for candidate in candidates:
        body = [name for name in candidate.wanted if name not in candidate.head]
        fitting = sum(_fits(file, candidate, name) for name in body)
        if fitting > LEAST_SHARE * len(body):
            found[candidate.architecture] = fitting / (len(body) + len(_without_place(file, candidate)))
    return max(found, key=found.__getitem__) if found else None


def _without_place(file: WeightsFile, candidate: Candidate) -> list[str]:
    """Tensors that are weights by their names, but not variables of the network."""
    used = set(candidate.sources.values())
    if not file.is_torch:
        used = {candidate.sources.get(name, name) for name in candidate.wanted}
    return [name for name in file.shapes if not {name, name_of_average(name)} & used and is_unknown(name)]


def _fits(file: WeightsFile, candidate: Candidate, name: str) -> bool:
    source = candidate.sources.get(name, name)
    stored = file.shapes.get(source)
    return stored is not None and same_numbers(our_shape(stored, torch=file.is_torch), candidate.wanted[name])


def with_state(file: WeightsFile, candidate: Candidate, *, ranges: bool, averaged: bool, to: str) -> Candidate:
    """A candidate with the further tensors of a TensorFlow checkpoint that belong to it.

    Args:
        file: The weights.
        candidate: The network.
        ranges: Whether it is quantized and needs its quantization ranges.
        averaged: Whether to use moving averages if there are any.
        to: "nvidia" and "timm" also keep the optimizer state and the step, and "nvidia" all quantization ranges; "here"
            starts a new run.
    """
    if file.is_torch:
        return candidate
    state: dict[str, str] = {}
    if ranges or to == "nvidia":
        names = {name: name for name in file.shapes if is_range(name) and is_weight(name)}
        state |= averages_or_raw(names, file.shapes) if averaged else names
    if to != "here":
        slots = [slot for variable in candidate.wanted for slot in slot_names(variable) if slot in candidate.sources]
        state |= {slot: candidate.sources[slot] for slot in slots}
        state |= {name: name for name in file.shapes if name in ("global_step", *STATE)}
    return dataclasses.replace(candidate, state=state)


def convert(file: WeightsFile, candidate: Candidate, others: Sequence[Candidate]) -> tuple[dict[str, np.ndarray], str]:
    """Reads all variables of a network from a file.

    Args:
        file: The weights.
        candidate: The network.
        others: Other networks that the file may hold, for the error message.

    Returns:
        Values by variable, and a table of the loaded and the unused tensors.

    Raises:
        UsageError: The file holds another network.
        RunError: A variable is missing, has another shape or a non-finite value, or the file has unknown weights.
    """
    _check(file, candidate, others)
    values, fates = {}, []
    for name, shape in candidate.wanted.items():
        source = candidate.sources[name]
        array = file.read(source)
        if array.dtype.kind != "f":
            raise RunError(f"{file.path}: {source} holds {array.dtype} values; weights must be floating-point")
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
            f"{file.path}: has {unknown[0]}, which {candidate.architecture} cannot use ({len(unknown)} such tensors); "
            "the outputs would differ without them"
        )


def _no_network(file: WeightsFile, candidate: Candidate) -> str:
    """The first difference of a file that holds none of the networks."""
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
    hint = "; it seems transposed" if transposed else ""
    return f"{file.path}: {source} has shape {list(stored)}, the network's {list(wanted)}{hint}"
