"""The files of a checkpoint of this project, and the checksums that tell whether they are whole.

The description stores its own CRC-32, that of the index, and the size of the data. The index holds a CRC-32C of every
tensor, which TensorFlow computes before it writes the tensor and checks when it reads it. So each byte is covered, and
saving reads back nothing but the index, some 50 kB. Checkpoints without checksums are read without these checks.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from utils.errors import CheckpointError, RunError, reason
from utils.files.file_kind import kind_of_file
from utils.files.json_values import typed
from utils.weights.description import PREFIX, parse_description

tf1 = tf.compat.v1

BEST = "best"
_DATA, _JSON, _INDEX = ".data-00000-of-00001", ".json", ".index"
SUFFIXES = (_DATA, _JSON, _INDEX)
"""The files of a checkpoint, in the order in which they are moved into place."""
READ_ERRORS = (tf.errors.OpError, ValueError, IndexError, RuntimeError, TypeError)
"""The errors of TensorFlow's reader on damaged files."""
_CHECKSUMS = "checksums"
_NUMBERS = ("index", "data_bytes", "description")


def steps_in(folder: Path) -> list[int]:
    """Steps of the complete checkpoints in a folder, ascending."""
    pattern = re.compile(re.escape(PREFIX) + r"-(\d+)\.index")
    names = (pattern.fullmatch(path.name) for path in folder.glob(f"{PREFIX}-*.index"))
    return sorted(int(match.group(1)) for match in names if match)


def checksums_of(prefix: Path) -> dict[str, int]:
    """The checksums of a checkpoint's weights as they are on disk: the CRC-32 of the index, and the size of the data.

    Raises:
        OSError: A file cannot be read.
    """
    index = Path(f"{prefix}{_INDEX}").read_bytes()
    return {"index": zlib.crc32(index), "data_bytes": Path(f"{prefix}{_DATA}").stat().st_size}


def sealed(metadata: Mapping[str, Any], checksums: Mapping[str, int] | None) -> bytes:
    """The description of a checkpoint as JSON, with the checksums of its weights and its own; None: with none."""
    if checksums is None:
        return _as_json(metadata)
    return _as_json({**metadata, _CHECKSUMS: {**checksums, "description": zlib.crc32(_as_json(metadata))}})


def read_metadata(prefix: Path) -> dict[str, Any] | None:
    """The description beside a checkpoint; None if another program wrote the checkpoint without one.

    Raises:
        RunError: The file exists but is damaged, or holds invalid values.
    """
    return _description(prefix)[0]


def stored_checksums(prefix: Path) -> dict[str, int] | None:
    """The result of ``checksums_of`` when the checkpoint was written; None if its description does not say.

    Raises:
        RunError: The description is damaged.
    """
    return _description(prefix)[1]


def open_checkpoint(prefix: Path) -> Any:
    """TensorFlow's reader of a checkpoint whose index and size are those that were written.

    Raises:
        RunError: The checkpoint is damaged.
    """
    checksums = stored_checksums(prefix)
    try:
        return _open(prefix, checksums)
    except (_DamagedError, *READ_ERRORS) as error:
        raise damaged(prefix, error) from error


def damaged(prefix: Path, error: BaseException, what: str = "") -> CheckpointError:
    """The error about a damaged checkpoint: the reason, and the newest whole checkpoint beside it.

    Args:
        prefix: The checkpoint.
        error: The error in reading it.
        what: The part that cannot be read.
    """
    why = next(filter(None, (_foreign(prefix, suffix) for suffix in ("", _INDEX, _DATA))), reason(error))
    part = f"{what}: " if what else ""
    return CheckpointError(f"{prefix}: the checkpoint is damaged: {part}{why}{_whole_one(prefix)}")


class _DamagedError(Exception):
    """A file of a checkpoint is not what was written."""


def _foreign(prefix: Path, suffix: str) -> str | None:
    """A sentence about a file of a checkpoint that is of another kind."""
    path = Path(f"{prefix}{suffix}")
    kind = kind_of_file(path)
    return f"{path.name} is {kind}" if kind else None


def _open(prefix: Path, checksums: Mapping[str, int] | None) -> Any:
    if checksums is not None:
        _compare(prefix, checksums)
    return tf1.train.NewCheckpointReader(str(prefix))


def _compare(prefix: Path, checksums: Mapping[str, int]) -> None:
    try:
        found = checksums_of(prefix)
    except OSError as error:
        raise _DamagedError(f"{Path(error.filename).name} cannot be read ({error.strerror})") from error
    if found["data_bytes"] != checksums["data_bytes"]:
        raise _DamagedError(
            f"{prefix.name}{_DATA} has {found['data_bytes']:,} bytes, but {checksums['data_bytes']:,} were written"
        )
    if found["index"] != checksums["index"]:
        raise _DamagedError(f"{prefix.name}{_INDEX} does not match its checksum in {prefix.name}{_JSON}")


def _description(prefix: Path) -> tuple[dict[str, Any] | None, dict[str, int] | None]:
    """The description beside a checkpoint and the checksums in it; None for what there is not."""
    path = Path(f"{prefix}{_JSON}")
    if not path.exists():
        return None, None
    try:
        return _parsed(path)
    except RunError as error:
        raise CheckpointError(f"{error}{_whole_one(prefix)}") from error


def _parsed(path: Path) -> tuple[dict[str, Any], dict[str, int] | None]:
    found = parse_description(path.read_bytes(), path)
    renamed = any(isinstance(value, dict) and value.keys() == set(_NUMBERS) for value in found.values())
    if _CHECKSUMS not in found and not renamed:
        return found, None
    try:
        stored = typed(found, _CHECKSUMS, dict)
        numbers = {key: typed(stored, key, int) for key in _NUMBERS}
    except ValueError as error:
        raise RunError(f"{path}: {error}; the description of the weights is damaged") from error
    del found[_CHECKSUMS]
    if zlib.crc32(_as_json(found)) != numbers.pop("description"):
        raise RunError(
            f'{path}: does not match its checksum, so it is damaged; if you changed it, remove its "{_CHECKSUMS}"'
        )
    return found, numbers


def _whole_one(prefix: Path) -> str:
    """The end of a message about a damaged checkpoint: its newest neighbor that is whole."""
    for folder in (prefix.parent, prefix.parent / BEST):
        for step in reversed(steps_in(folder)):
            other = folder / f"{PREFIX}-{step}"
            if other != prefix and _is_whole(other):
                return f"; the newest whole one is {other}"
    return ""


def _is_whole(prefix: Path) -> bool:
    """Returns whether every byte of a checkpoint is as it was written."""
    try:
        path = Path(f"{prefix}{_JSON}")
        reader = _open(prefix, _parsed(path)[1] if path.exists() else None)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (RunError, OSError, _DamagedError, *READ_ERRORS):
        return False
    return True


def _as_json(metadata: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(metadata), indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass")
