"""Index files of where records begin, as DALI's tools write them: made, found and verified (no TF).

An index file is text with a line ``<offset> <size>`` for each record: its first byte in the file, and its bytes with
the frame of 16 around the payload. It is named as the record file.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.errors import RunError
from utils.files.atomic_file import write_atomically
from utils.files.file_lock import locked
from utils.records.manifest import SplitFiles
from utils.records.tfrecord_file import FRAME_BYTES, HEADER_BYTES, iterate_headers

INDEX_FOLDER = ".dali_idx"  # beside the records
CACHE_FOLDER = "dali_idx"  # in the user's cache
HOW_TO_MAKE = "`bash utils/dali_index.sh SRC DST` writes the index files of the records in SRC to DST"
_DIGEST_LETTERS = 16

Index = NDArray[np.int64]
"""``[records, 2]``: offset and size of each record in bytes."""

_log = logging.getLogger(__name__)


def scan(path: Path) -> Index:
    """The index of a record file, by hopping over its headers, the checksum of each length checked.

    Raises:
        RunError: A header is broken, or the file cannot be read.
    """
    records = [(offset - HEADER_BYTES, length + FRAME_BYTES) for offset, length in iterate_headers(path)]
    return np.array(records, np.int64).reshape(-1, 2)


def to_text(index: Index) -> bytes:
    """The content of an index file."""
    return "".join(f"{offset} {size}\n" for offset, size in index.tolist()).encode()


def fault_of(index: Index, size: int, records: int) -> str | None:
    """Describe why an index is not one of a file of ``size`` bytes and ``records`` records, or None."""
    if len(index) != records:
        return f"it lists {len(index)} records, and there must be {records}"
    ends = index[:, 0] + index[:, 1]
    expected = np.concatenate([[0], ends[:-1]])[: len(index)]
    gaps = np.flatnonzero(index[:, 0] != expected)
    if len(gaps):
        return (
            f"its record {gaps[0]} begins at byte {index[gaps[0], 0]}, and the one before ends at {expected[gaps[0]]}"
        )
    covered = int(ends[-1]) if len(index) else 0
    if covered != size or (index[:, 1] < FRAME_BYTES).any():
        return f"its records have {covered} bytes, and the file has {size}"
    return None


def read_index(path: Path, records: Path, count: int) -> Index:
    """Reads an index file and verifies it against its record file of ``count`` records.

    Where the record file was changed after the index was written, every offset is compared with the file's.

    Raises:
        RunError: The index cannot be read or is not that of the file.
    """
    try:
        text = path.read_bytes()
        index = np.loadtxt(io.BytesIO(text), np.int64, ndmin=2) if text.strip() else np.zeros([0, 2], np.int64)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, OverflowError) as error:
        raise RunError(f"{path}: is no index file: {error}") from error
    if index.shape[1] != 2:
        raise RunError(f"{path}: is no index file: its lines have {index.shape[1]} numbers; must be offset and size")
    fault = fault_of(index, records.stat().st_size, count)
    if fault is None and path.stat().st_mtime_ns < records.stat().st_mtime_ns and (index != scan(records)).any():
        fault = "the file was changed after the index was written, and its records begin elsewhere now"
    if fault is not None:
        raise RunError(f"{path}: is not the index of {records}: {fault}")
    return index


def write_index(records: Path, path: Path) -> bool:
    """Writes the index file of a record file, unless there is a sound one; returns whether it wrote.

    Of several processes that want the same one, one writes and the others wait for it.

    Raises:
        RunError: The record file is broken.
        OSError: The index cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        if path.is_file() and _is_sound(path, records):
            return False
        write_atomically(path, to_text(scan(records)))
    return True


def _is_sound(path: Path, records: Path) -> bool:
    """Return whether an index file is that of a record file, whose number of records is taken from the index."""
    try:
        read_index(path, records, path.read_bytes().count(b"\n"))
    except RunError:
        return False
    return True


def split_index(files: SplitFiles, index_dir: str | None) -> Index:
    """The index of a whole split, ``[examples, 2]``; each example's file is ``files.locate``'s.

    Without ``index_dir`` index files are made where they are missing: beside the records, or, where nothing can be
    written there, in the user's cache. Where nothing can be written there either, the index is made anew each time.

    Raises:
        RunError: ``index_dir`` lacks an index, or one is not that of its records.
    """
    parts = []
    for name, count in zip(files.paths, files.counts, strict=True):
        records = Path(name)
        parts.append(_made(records, count) if index_dir is None else _given(records, Path(index_dir), count))
    return np.concatenate(parts) if parts else np.zeros([0, 2], np.int64)


def _given(records: Path, folder: Path, count: int) -> Index:
    path = folder / records.name
    if not path.is_file():
        what = f"has no index of {records.name}" if folder.is_dir() else "no such folder"
        raise RunError(f"--data_idx_dir {folder}: {what}; {HOW_TO_MAKE}")
    try:
        return read_index(path, records, count)
    except RunError as error:
        raise RunError(f"{error} (--data_idx_dir); {HOW_TO_MAKE}") from error


def _made(records: Path, count: int) -> Index:
    """The index that this user can have: from a file beside the records if that is possible."""
    beside = records.parent / INDEX_FOLDER / records.name
    if beside.is_file() and _is_sound(beside, records):
        return read_index(beside, records, count)
    for path in (beside, cache_folder(records.parent) / records.name):
        try:
            if write_index(records, path):
                _log.info("%s: the index of %s was made", path, records.name)
        except OSError as error:
            refusal = error
        else:
            return read_index(path, records, count)
    _log.warning("%s: cannot be written (%s); each start goes through %s", path, refusal.strerror, records)
    index = scan(records)
    fault = fault_of(index, records.stat().st_size, count)
    if fault is not None:
        raise RunError(f"{records}: is not what its manifest says: {fault}")
    return index


def cache_folder(records: Path) -> Path:
    """The folder for the index files of records whose own folder cannot be written to."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(str(records.resolve()).encode()).hexdigest()[:_DIGEST_LETTERS]
    return cache / CACHE_FOLDER / f"{records.name}-{digest}"
