"""Index files of record offsets in the format of DALI's tools: written, found and verified (no TF).

An index file is text with a line ``<offset> <size>`` per record: the position of its first byte, and its size including
the 16-byte frame around the payload. It has the name of the record file.
"""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.errors import RunError
from utils.files.atomic_file import write_atomically
from utils.files.file_lock import locked
from utils.files.regular_file import open_regular
from utils.files.user_cache import user_cache
from utils.records.split_files import SplitFiles
from utils.records.tfrecord_file import FRAME_BYTES, HEADER_BYTES, iterate_headers
from utils.suggestions import path_hint

INDEX_FOLDER = ".dali_idx"  # beside the records
CACHE_FOLDER = "dali_idx"  # in the user's cache
HOW_TO_MAKE = "`bash utils/dali_index.sh SRC DST` writes the index files of the records in SRC to DST"
_DIGEST_LETTERS = 16

MOST_SHUFFLED_BYTES = 1_000_000_000
"""Encoded records that one process keeps in memory to shuffle them; 4,096 of ImageNet's size take 450 MB."""

Index = NDArray[np.int64]
"""``[records, 2]``: offset and size of each record in bytes."""

_log = logging.getLogger(__name__)


def scan(path: Path) -> Index:
    """The index of a record file, read from its headers; verifies the checksum of each length.

    Raises:
        RunError: A header is broken, or the file cannot be read.
    """
    records = [(offset - HEADER_BYTES, length + FRAME_BYTES) for offset, length in iterate_headers(path)]
    return np.array(records, np.int64).reshape(-1, 2)


def to_text(index: Index) -> bytes:
    """The content of an index file."""
    return "".join(f"{offset} {size}\n" for offset, size in index.tolist()).encode()


def fault_of(index: Index, size: int, records: int) -> str | None:
    """Describes why an index does not fit a file of ``size`` bytes and ``records`` records; None if it fits."""
    if len(index) != records:
        return f"it lists {len(index)} records, and must list {records}"
    ends = index[:, 0] + index[:, 1]
    expected = np.concatenate([[0], ends[:-1]])[: len(index)]
    gaps = np.flatnonzero(index[:, 0] != expected)
    if len(gaps):
        return (
            f"its record {gaps[0]} begins at byte {index[gaps[0], 0]}, but the previous one ends at {expected[gaps[0]]}"
        )
    covered = int(ends[-1]) if len(index) else 0
    if covered != size or (index[:, 1] < FRAME_BYTES).any():
        return f"its records have {covered} bytes, but the file has {size}"
    return None


def read_index(path: Path, records: Path, count: int) -> Index:
    """Reads an index file and verifies it against its record file of ``count`` records.

    If the record file was changed after the index was written, every offset is compared with the file's.

    Raises:
        RunError: The index cannot be read or does not belong to the file.
    """
    try:
        with open_regular(path) as file:
            text = file.read()
        index = np.loadtxt(io.BytesIO(text), np.int64, ndmin=2) if text.strip() else np.zeros([0, 2], np.int64)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, OverflowError) as error:
        raise RunError(f"{path}: is not an index file: {error}") from error
    if index.shape[1] != 2:
        raise RunError(f"{path}: is not an index file: a line has {index.shape[1]} numbers; must be offset and size")
    fault = fault_of(index, records.stat().st_size, count)
    if fault is None and path.stat().st_mtime_ns < records.stat().st_mtime_ns and (index != scan(records)).any():
        fault = "the file was changed after the index was written, and its records now begin elsewhere"
    if fault is not None:
        raise RunError(f"{path}: is not the index of {records}: {fault}")
    return index


def write_index(records: Path, path: Path) -> bool:
    """Writes the index file of a record file unless a valid one exists; returns whether it wrote.

    If several processes need the same index, one writes it and the others wait.

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
    """Returns whether an index file fits a record file; the number of records is taken from the index."""
    try:
        read_index(path, records, path.read_bytes().count(b"\n"))
    except RunError:
        return False
    return True


def shuffled_bytes(files: SplitFiles, shuffle_buffer: int) -> int:
    """Bytes of the records in the shuffle buffer of a process that reads its files from end to end."""
    stored = sum(Path(path).stat().st_size for path in files.paths)
    return stored * min(shuffle_buffer, files.examples) // max(files.stored, 1)


def shuffles_numbers(files: SplitFiles, shuffle_buffer: int) -> bool:
    """Returns whether the records are so large that their numbers are shuffled, and each is read by its index."""
    return shuffled_bytes(files, shuffle_buffer) > MOST_SHUFFLED_BYTES


def split_index(files: SplitFiles, index_dir: str | None) -> Index:
    """The index of a whole split, ``[examples, 2]``; ``files.locate`` returns the file of each example.

    Without ``index_dir``, missing index files are written beside the records or, if that folder is read-only, to the
    user's cache. If neither is writable, the index is rebuilt each time.

    Raises:
        RunError: ``index_dir`` lacks an index, or an index does not belong to its records.
    """
    parts = []
    for name, count in zip(files.paths, files.counts, strict=True):
        records = Path(name)
        parts.append(_own_index(records, count) if index_dir is None else _given_index(records, Path(index_dir), count))
    return np.concatenate(parts) if parts else np.zeros([0, 2], np.int64)


def scanned_index(files: SplitFiles) -> Index:
    """The index of a whole split from the headers of its records; reads and writes no index file.

    Raises:
        RunError: A file is broken or does not match its manifest.
    """
    return np.concatenate([_scanned(Path(name), count) for name, count in zip(files.paths, files.counts, strict=True)])


def _given_index(records: Path, folder: Path, count: int) -> Index:
    path = folder / records.name
    if not path.is_file():
        what = f"has no index of {records.name}" if folder.is_dir() else "no such folder"
        raise RunError(f"--data_idx_dir {folder}: {what}; {HOW_TO_MAKE}{path_hint(folder, folder=True)}")
    try:
        return read_index(path, records, count)
    except RunError as error:
        raise RunError(f"{error} (--data_idx_dir); {HOW_TO_MAKE}") from error


def _own_index(records: Path, count: int) -> Index:
    """The index from a file beside the records if possible, else from the user's cache or the records themselves."""
    beside = records.parent / INDEX_FOLDER / records.name
    if beside.is_file() and _is_sound(beside, records):
        return read_index(beside, records, count)
    for path in (beside, cache_folder(records.parent) / records.name):
        try:
            if write_index(records, path):
                _log.info("%s: wrote the index of %s", path, records.name)
        except OSError as error:
            refusal = error
        else:
            return read_index(path, records, count)
    _log.warning("%s: cannot be written (%s); each start has to scan %s", path, refusal.strerror, records)
    return _scanned(records, count)


def _scanned(records: Path, count: int) -> Index:
    index = scan(records)
    fault = fault_of(index, records.stat().st_size, count)
    if fault is not None:
        raise RunError(f"{records}: does not match its manifest: {fault}")
    return index


def cache_folder(records: Path) -> Path:
    """The folder in the user's cache for the index files of records in a read-only folder."""
    digest = hashlib.sha256(str(records.resolve()).encode()).hexdigest()[:_DIGEST_LETTERS]
    return user_cache() / CACHE_FOLDER / f"{records.name}-{digest}"
