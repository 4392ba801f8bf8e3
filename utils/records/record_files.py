"""Finds and counts record files without a manifest, by their names (no TF)."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from utils.errors import RunError
from utils.files.regular_file import open_regular
from utils.records.tfrecord_file import count_records
from utils.text import first_few, plural

CONVERTERS = "`python -m tools.convert` or, for detection, `python -m object_detection.create_coco_tfrecord`"

# Prefixes of the files of each split; those on the left take precedence.
_PREFIXES = {
    "train": ("train-", "coco_train"),
    "validation": ("validation-", "coco_val"),
    "testdev": ("coco_testdev",),
}
_NO_RECORDS = (".tmp", ".json", ".pbtxt", ".txt")
_OTHER_NAME = re.compile(r".*\.(tf)?records?(-\d+-of-\d+)?", re.IGNORECASE)  # names of other tools
_NUMBERED = re.compile(r"(?P<stem>.*-)(?P<number>\d+)-of-(?P<total>\d+)")
_MOST_NUMBERED = 100_000  # files of a series

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
        names = " or ".join(f"{prefix}*" for prefix in prefixes)
        others = record_files_of_other_names(folder)
        there = first_few([path.name for path in sorted(folder.iterdir())]) or "nothing"
        raise RunError(
            f"{where}: no file is named {names}, and there is no dataset.json; "
            + (
                f"the folder holds {others_sentence(folder, others)}"
                if others
                else f"the folder holds {there}; {CONVERTERS} converts images to records"
            )
        )
    counts = tuple(count(path) for path in paths)
    if not sum(counts):
        raise RunError(f"{where}: its {len(paths)} {split} files, {paths[0].name} first, hold no record")
    warn_of_losses(paths, counts, where)
    unused = [path for prefix in prefixes for path in _files_from(folder, prefix) if path not in paths]
    if unused:
        _log.warning(
            "%s: not used, as there are %s files of another name: %s",
            *(where, paths[0].name, first_few([path.name for path in unused])),
        )
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


def warn_of_losses(paths: Sequence[Path], counts: Sequence[int], where: str) -> None:
    """Warns about empty files, and about files that numbered ones of a split lack."""
    empty = [path.name for path, number in zip(paths, counts, strict=True) if not number]
    if empty:
        _log.warning("%s: %s without any record: %s", where, plural(len(empty), "file"), first_few(empty))
    missing = missing_in_series(paths)
    if missing:
        _log.warning("%s: lacks %s of a numbered series: %s", where, plural(len(missing), "file"), first_few(missing))


def missing_in_series(paths: Sequence[Path]) -> list[str]:
    """The names that are missing among files numbered like train-00000-of-00002."""
    series: dict[tuple[str, str], set[int]] = {}
    for path in paths:
        found = _NUMBERED.fullmatch(path.name)
        if found:
            series.setdefault((found["stem"], found["total"]), set()).add(int(found["number"]))
    missing = []
    for (stem, total), numbers in series.items():
        absent = set(range(min(int(total), _MOST_NUMBERED))) - numbers
        missing += [f"{stem}{number:0{len(total)}d}-of-{total}" for number in sorted(absent)]
    return missing


def record_files_of_other_names(folder: Path) -> list[Path]:
    """The record files in a folder, and in the folders in it, that have the names of another tool."""
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))]
    return [
        path
        for place in places
        for path in sorted(place.iterdir())
        if _OTHER_NAME.fullmatch(path.name) and path.is_file()
    ]


def others_sentence(folder: Path, others: Sequence[Path]) -> str:
    """A phrase about record files that have the names of another tool."""
    names = first_few([str(path.relative_to(folder)) for path in others])
    return (
        f"{plural(len(others), 'record file')} of other names: {names}; name them train-* and validation-* "
        "(coco_train* and coco_val* with objects), or name their paths in a pipeline configuration"
    )


def _files_from(folder: Path, prefix: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"{prefix}*") if _may_hold_records(path))


def files_of_pattern(pattern: str) -> list[Path]:
    """The files that match a pattern with ``*`` and ``?``, sorted, without those whose name rules out records."""
    return sorted(path for path in map(Path, glob.glob(pattern)) if _may_hold_records(path))  # noqa: PTH207


def patterns_in(text: str) -> list[str]:
    """The comma-separated patterns in a text, or the text itself if it matches a file."""
    return [text] if files_of_pattern(text) else [part.strip() for part in text.split(",")]


def _may_hold_records(path: Path) -> bool:
    return not path.is_dir() and not path.name.startswith(".") and path.suffix not in _NO_RECORDS


@cache
def _count_once(path: str, size: int, modified_ns: int) -> int:
    """Counts the records of a file; ``size`` and ``modified_ns`` distinguish a changed file from the one counted."""
    del size, modified_ns
    return count_records(path)


def count(path: Path) -> int:
    """The number of records in a file, counted once per process."""
    try:
        status = path.stat()
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    return _count_once(str(path), status.st_size, status.st_mtime_ns)


def check_size(path: Path, size: int | None, witness: str) -> None:
    """Raises ``RunError`` if a file is missing or irregular, or of another size in bytes than ``witness`` states."""
    try:
        with open_regular(path) as file:
            found = os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise RunError(f"{path}: is missing; {witness} lists it") from error
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); {witness} lists it") from error
    if size is not None and found != size:
        what = "is truncated" if found < size else "was changed"
        raise RunError(
            f"{path}: {what}: it has {found} bytes, but {witness} says {size}; "
            "copy it again, or convert the data set again"
        )
