"""The labels of every record of a split: read once, and kept beside the records (no TF).

A label file is text. Its first line has the size and the time of change of its record file, and each further line the
labels of a record, none if it has no usable ones. It has the name of the record file.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import RunError
from utils.files.atomic_file import write_atomically
from utils.files.file_lock import locked
from utils.files.regular_file import read_regular
from utils.files.user_cache import user_cache
from utils.records.example_proto import decode_example
from utils.records.label_records import LABEL_KEY, SEVERAL_LABELS_SCHEMA
from utils.records.record_index import cache_folder
from utils.records.record_rules import fault_of_types
from utils.records.split_files import SplitFiles
from utils.records.tfrecord_file import iterate_payloads, locate_records
from utils.text import plural

LABEL_FOLDER = ".labels"  # beside the records
_MOST_BYTES = 2**31

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitLabels:
    """The labels of a split's examples as indices of classes.

    Attributes:
        examples: Number of stored examples, also of those that are not chosen, which have no labels here.
        rows: ``[n]`` int64, the example of each label, ascending.
        classes: ``[n]`` int64, its class.
    """

    examples: int
    rows: np.ndarray
    classes: np.ndarray

    def counts(self, num_classes: int) -> np.ndarray:
        """The number of labels of each class, ``[num_classes]``."""
        return np.bincount(self.classes, minlength=num_classes)

    @property
    def first(self) -> np.ndarray:
        """The class of each example by its first label, ``[examples]``; -1 without one."""
        found = np.full(self.examples, -1, np.int64)
        found[self.rows[::-1]] = self.classes[::-1]
        return found


def split_labels(
    files: SplitFiles, *, offset: int, num_classes: int, several: bool = False, keep: bool = True
) -> SplitLabels:
    """Reads the labels of a split, from label files if there are any that fit.

    Missing ones are written beside the records or, if that folder is read-only, to the user's cache. Labels outside the
    classes count as none. A sentence in the log tells how many examples have none.

    Args:
        files: The split.
        offset: The label of the first class.
        num_classes: Number of classes.
        several: Whether a record may have several labels, or none.
        keep: Whether to write missing label files.

    Raises:
        RunError: A record file is broken or does not match its manifest.
    """
    chosen = np.zeros(files.stored, np.bool_)
    chosen[list(files.indices)] = True
    usable = [
        _usable(one, offset, num_classes, several=several) if there else []
        for one, there in zip(stored_labels(files, keep=keep), chosen, strict=True)
    ]
    lacking = files.examples - sum(map(bool, usable))
    if lacking and not several:
        _log.warning("%s without a usable label: not counted, and never drawn by class", plural(lacking, "record"))
    rows = np.repeat(np.arange(len(usable), dtype=np.int64), [len(one) for one in usable])
    return SplitLabels(examples=len(usable), rows=rows, classes=np.array([c for one in usable for c in one], np.int64))


def stored_labels(files: SplitFiles, *, keep: bool) -> list[list[int]]:
    """The labels of each stored example, as in the records; none for one that a run cannot read.

    Args:
        files: The split.
        keep: Whether to write missing label files, as ``split_labels`` does.

    Raises:
        RunError: A record file is broken or does not match its manifest.
    """
    labels: list[list[int]] = []
    for name, count in zip(files.paths, files.counts, strict=True):
        found = _labels_of(Path(name), keep=keep)
        if len(found) != count:
            raise RunError(f"{name}: has {plural(len(found), 'record')}, and should have {count:,}")
        labels += found
    return labels


def _usable(labels: Sequence[int], offset: int, num_classes: int, *, several: bool) -> list[int]:
    if not several and len(labels) != 1:
        return []
    return [label - offset for label in dict.fromkeys(labels) if 0 <= label - offset < num_classes]


def _labels_of(records: Path, *, keep: bool) -> list[list[int]]:
    """The labels of each record of a file, as stored."""
    beside = records.parent / LABEL_FOLDER / records.name
    if (kept := _kept(beside, records)) is not None:
        return kept
    if not keep:
        return _read(records)
    refusal: OSError | None = None
    for folder in (beside.parent, _cache(records)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder):  # if several processes need the same labels, one reads and the others wait
                path = folder / records.name
                if (kept := _kept(path, records)) is None:
                    kept = _read(records)
                    write_atomically(path, _text(kept, records))
                    _log.info("%s: wrote the labels of %s", path, records.name)
                return kept
        except OSError as error:
            refusal = error
    _log.warning("%s: cannot be written (%s); each start has to read %s", beside, refusal, records)
    return _read(records)


def _cache(records: Path) -> Path:
    return user_cache() / "labels" / cache_folder(records.parent).name


def _read(records: Path) -> list[list[int]]:
    places, fault = locate_records(records)
    if fault:
        raise RunError(f"{records}: record {len(places)}: {fault}")
    return [_labels_in(payload) if not wrong else [] for payload, wrong in iterate_payloads(records, places)]


def _labels_in(payload: bytes) -> list[int]:
    """The labels of a record that a run can read; none otherwise."""
    try:
        features = decode_example(payload)
    except ValueError:
        return []
    return (
        [] if fault_of_types(features, SEVERAL_LABELS_SCHEMA) else [int(label) for label in features.get(LABEL_KEY, ())]
    )


def _mark(records: Path) -> str:
    facts = records.stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"


def _text(labels: Sequence[Sequence[int]], records: Path) -> bytes:
    return "".join(f"{line}\n" for line in (_mark(records), *(" ".join(map(str, one)) for one in labels))).encode()


def _kept(path: Path, records: Path) -> list[list[int]] | None:
    """The labels in a label file; None if there is none that belongs to the records as they are."""
    try:
        mark, *lines = read_regular(path, most=_MOST_BYTES).decode("ascii").split("\n")
        return [[int(label) for label in line.split()] for line in lines[:-1]] if mark == _mark(records) else None
    except (OSError, ValueError):
        return None
