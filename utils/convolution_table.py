"""The table of the fastest convolutions, measured on a machine and kept in the user's cache (no TF).

A file holds the table of one machine and type. It is an aid: without it, or with a damaged one, built-in rules choose.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import RunError
from utils.files.atomic_file import write_atomically
from utils.files.file_kind import why_no_json
from utils.files.file_lock import locked
from utils.files.json_values import shortened, typed, typed_list
from utils.files.regular_file import read_regular
from utils.files.user_cache import user_cache
from utils.system.machine import SPEED_FEATURES, cpu_features, cpu_name, uses_onednn

CACHE_FOLDER = "convolutions"  # in the user's cache
COMMAND = "`python -m tools.measure convolutions`"
_SCHEMA = 1
_MOST_BYTES = 16_000_000
_DIGEST_LETTERS = 12

Names = tuple[str, ...]
"""The formulations of a convolution's forward direction, input gradient and filter gradient."""
Fault = Callable[[str, Names], str | None]
"""Returns a phrase if the key of a convolution or the names of its formulations are wrong, else None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """All that the speed of convolutions depends on, besides their shape.

    Attributes:
        processor: Model name and instruction sets of the CPU, and whether TensorFlow uses oneDNN.
        tensorflow: Version of TensorFlow.
        threads: Threads of a session.
        layout: "NHWC".
        dtype: Name of the type.
    """

    processor: str
    tensorflow: str
    threads: int
    layout: str
    dtype: str

    @property
    def path(self) -> Path:
        """The file of its table."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:_DIGEST_LETTERS]
        name = re.sub(r"[^A-Za-z0-9.]+", "-", self.processor.partition(" (")[0]).strip("-")
        return user_cache() / CACHE_FOLDER / f"{name}-{self.threads}-threads-{self.dtype}-{digest}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The measured choices of a machine.

    Attributes:
        measured: Date of the last measurement, as YYYY-MM-DD.
        choices: Formulations by the key of a convolution.
        times: Milliseconds by key, direction and formulation.
    """

    measured: str
    choices: Mapping[str, Names]
    times: Mapping[str, Any]


def this_machine(tensorflow: str, threads: int, layout: str, dtype: str) -> Machine:
    """The machine that this process runs on."""
    features = [name for name in SPEED_FEATURES if name in cpu_features()]
    onednn = "" if uses_onednn(os.environ) else ", without oneDNN"
    processor = f"{cpu_name()} ({' '.join(features)}{onednn})"
    return Machine(processor=processor, tensorflow=tensorflow, threads=threads, layout=layout, dtype=dtype)


def read_table(machine: Machine, fault_of: Fault) -> Table | None:
    """The table of a machine; None if there is none.

    Raises:
        RunError: The file cannot be read, is damaged, or belongs to another machine or version of this program.
    """
    try:
        path = machine.path
        text = read_regular(path, most=_MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path}: the measured convolutions cannot be read ({error.strerror})") from error
    try:
        return _parsed(text, machine, fault_of)
    except ValueError as error:
        raise RunError(
            f"{path}: is no table of convolutions for this machine: {error}; {COMMAND} writes a new one"
        ) from error


def _parsed(text: bytes, machine: Machine, fault_of: Fault) -> Table:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(why_no_json(text, error)) from error
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    if (schema := typed(content, "schema", int)) != _SCHEMA:
        raise ValueError(f'"schema" is {schema}, and must be {_SCHEMA}')
    owner, expected = typed(content, "machine", dict), dataclasses.asdict(machine)
    for name, value in expected.items():
        if owner.get(name) != value:
            raise ValueError(f'"{name}" is {shortened(owner.get(name))}, and this machine has {shortened(value)}')
    entries = typed(content, "convolutions", dict)
    choices = {key: _names(key, entry) for key, entry in entries.items()}
    require_usable(choices, fault_of)
    times = {key: typed(entry, "milliseconds", dict) for key, entry in entries.items()}
    return Table(measured=typed(content, "measured", str), choices=choices, times=times)


def _names(key: str, entry: Any) -> Names:
    if not isinstance(entry, dict):
        raise ValueError(f"{shortened(key)} is {shortened(entry)}, and must be an object")
    return tuple(typed_list(entry, "choice", str))


def require_usable(choices: Mapping[str, Names], fault_of: Fault) -> None:
    """Checks choices from a file.

    Raises:
        ValueError: A convolution or a formulation is unknown.
    """
    for key, names in choices.items():
        if fault := fault_of(key, names):
            raise ValueError(fault)


def add_to_table(machine: Machine, new: Table, fault_of: Fault) -> None:
    """Adds choices to the table of a machine, in place of those for the same convolutions and of a damaged table.

    Raises:
        OSError: The table cannot be written.
    """
    path = machine.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        try:
            old = read_table(machine, fault_of)
        except RunError:
            old = None
        choices = {**(old.choices if old else {}), **new.choices}
        times = {**(old.times if old else {}), **new.times}
        content = {
            "schema": _SCHEMA,
            "machine": dataclasses.asdict(machine),
            "measured": new.measured,
            "convolutions": {key: {"choice": choices[key], "milliseconds": times[key]} for key in sorted(choices)},
        }
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
