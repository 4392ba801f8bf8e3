"""Finds and counts record files without a manifest, by their names (no TF)."""

from __future__ import annotations

import glob
import logging
from functools import cache
from pathlib import Path

from utils.errors import RunError
from utils.records.tfrecord_file import count_records

CONVERTERS = "`python -m tools.convert` or, for detection, `python -m object_detection.create_coco_tfrecord`"

# Prefixes of the files of each split; those on the left take precedence.
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
        folder: Folder of the files.
        split: "train", "validation" or "testdev".
        where: Name of the folder in messages.

    Raises:
        RunError: There are no such files, none of them holds a record, or one is truncated.
    """
    prefixes = _PREFIXES.get(split, (f"{split}-",))
    paths = next(filter(None, (_files_from(folder, prefix) for prefix in prefixes)), [])
    if not paths:
        present = sorted(path.name for path in folder.iterdir())
        there = ", ".join(present[:5]) + (f" and {len(present) - 5} more" if len(present) > 5 else "") or "nothing"
        names = " or ".join(f"{prefix}*" for prefix in prefixes)
        raise RunError(
            f"{where}: no file is named {names}, and there is no dataset.json; the folder holds {there}; "
            f"{CONVERTERS} converts images to records"
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
    """The record files of each split in a folder, by their names; splits without files are left out."""
    found = {
        split: next(filter(None, (_files_from(folder, prefix) for prefix in prefixes)), [])
        for split, prefixes in _PREFIXES.items()
    }
    return {split: paths for split, paths in found.items() if paths}


def files_by_name(folder: Path) -> list[Path]:
    """The record files of all splits in a folder, by their names, training files first."""
    found = [_files_from(folder, prefix) for prefixes in _PREFIXES.values() for prefix in prefixes]
    return [path for paths in found for path in paths]


def _files_from(folder: Path, prefix: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"{prefix}*") if _may_hold_records(path))


def files_of_pattern(pattern: str) -> list[Path]:
    """The files that match a pattern with ``*`` and ``?``, sorted, without those whose name rules out records."""
    return sorted(path for path in map(Path, glob.glob(pattern)) if _may_hold_records(path))  # noqa: PTH207


def patterns_in(text: str) -> list[str]:
    """The comma-separated patterns in a text, or the text itself if it matches a file."""
    return [text] if files_of_pattern(text) else [part.strip() for part in text.split(",")]


def _may_hold_records(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix not in _NO_RECORDS


@cache
def _count_once(path: str, size: int, modified_ns: int) -> int:
    """Counts the records of a file; ``size`` and ``modified_ns`` distinguish a changed file from the one counted."""
    del size, modified_ns
    return count_records(path)


def count(path: Path) -> int:
    """The number of records in a file, counted once per process."""
    status = path.stat()
    return _count_once(str(path), status.st_size, status.st_mtime_ns)


def check_size(path: Path, size: int | None, witness: str) -> None:
    """Raises ``RunError`` if a file is missing or its size in bytes differs from the one that ``witness`` states."""
    if not path.is_file():
        raise RunError(f"{path}: is missing; {witness} lists it")
    found = path.stat().st_size
    if size is not None and found != size:
        what = "is truncated" if found < size else "was changed"
        raise RunError(
            f"{path}: {what}: it has {found} bytes, but {witness} says {size}; "
            "copy it again, or convert the data set again"
        )
