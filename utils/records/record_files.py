"""Record files that no manifest tells of: found by their names and counted (no TF)."""

from __future__ import annotations

import glob
import logging
from functools import cache
from pathlib import Path

from utils.errors import RunError
from utils.records.tfrecord_file import count_records

CONVERTERS = "`python -m tools.convert` or, for detection, `python -m object_detection.create_coco_tfrecord`"

# How the files of a split begin, the names that are looked for first to the left.
_PREFIXES = {
    "train": ("train-", "coco_train"),
    "validation": ("validation-", "coco_val"),
    "testdev": ("coco_testdev",),
}
_NO_RECORDS = (".tmp", ".json", ".pbtxt", ".txt")

_log = logging.getLogger(__name__)


def count_by_name(folder: Path, split: str, where: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The record files of a split by their names, in order, and the number of records in each.

    Args:
        folder: Holds them.
        split: "train", "validation" or "testdev".
        where: The folder as messages call it.

    Raises:
        RunError: there is none, none holds a record, or one is cut off.
    """
    prefixes = _PREFIXES.get(split, (f"{split}-",))
    paths = next(filter(None, (_files_from(folder, prefix) for prefix in prefixes)), [])
    if not paths:
        present = sorted(path.name for path in folder.iterdir())
        there = ", ".join(present[:5]) + (f" and {len(present) - 5} more" if len(present) > 5 else "") or "nothing"
        names = " or ".join(f"{prefix}*" for prefix in prefixes)
        raise RunError(
            f"{where}: no file is named {names} and there is no dataset.json; the folder holds {there}; "
            f"{CONVERTERS} makes the records from images"
        )
    counts = tuple(count(path) for path in paths)
    if not sum(counts):
        raise RunError(f"{where}: its {len(paths)} {split} files, {paths[0].name} first, hold no record")
    _log.info(
        "%s has no dataset.json, so the records were counted: %d in %d %s files; %s writes one",
        *(folder, sum(counts), len(paths), split, CONVERTERS),
    )
    return tuple(map(str, paths)), counts


def split_files_by_name(folder: Path) -> dict[str, list[Path]]:
    """The record files of each split of a folder that has any, by their names."""
    found = {
        split: next(filter(None, (_files_from(folder, prefix) for prefix in prefixes)), [])
        for split, prefixes in _PREFIXES.items()
    }
    return {split: paths for split, paths in found.items() if paths}


def files_by_name(folder: Path) -> list[Path]:
    """The record files of all splits in a folder, by their names, training first."""
    found = [_files_from(folder, prefix) for prefixes in _PREFIXES.values() for prefix in prefixes]
    return [path for paths in found for path in paths]


def _files_from(folder: Path, prefix: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"{prefix}*") if _may_hold_records(path))


def files_of_pattern(pattern: str) -> list[Path]:
    """The files that a pattern with ``*`` and ``?`` matches, in order, without what cannot be records by its name."""
    return sorted(path for path in map(Path, glob.glob(pattern)) if _may_hold_records(path))  # noqa: PTH207


def patterns_in(text: str) -> list[str]:
    """The patterns that a text lists with commas between; the text itself where a file has such a name."""
    return [text] if files_of_pattern(text) else [part.strip() for part in text.split(",")]


def _may_hold_records(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix not in _NO_RECORDS


@cache
def _count_once(path: str, size: int, modified_ns: int) -> int:
    """Counts the records of a file; ``size`` and ``modified_ns`` tell a changed file from the one counted before."""
    del size, modified_ns
    return count_records(path)


def count(path: Path) -> int:
    """The number of records in a file, which is read once a process."""
    status = path.stat()
    return _count_once(str(path), status.st_size, status.st_mtime_ns)


def check_size(path: Path, size: int | None, witness: str) -> None:
    """Raises ``RunError`` where a file is missing or has another size, in bytes, than ``witness`` says it has."""
    if not path.is_file():
        raise RunError(f"{path}: is missing; {witness} lists it")
    found = path.stat().st_size
    if size is not None and found != size:
        what = "was cut off" if found < size else "was changed"
        raise RunError(
            f"{path}: {what}: it has {found} bytes and {witness} says {size}; "
            "copy it again, or convert the data set again"
        )
