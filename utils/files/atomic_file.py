"""Atomic writes: a file is complete or absent, whatever happens during writing (no TF)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def temporary_name(path: Path) -> Path:
    """The hidden name beside ``path`` used while writing; a rerun overwrites what a killed process left there."""
    return path.with_name(f".{path.name}.tmp")


def flush_to_disk(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that takes the name ``path`` only once its whole content is on disk.

    If the block raises or the disk is full, the temporary file is removed and an existing ``path`` is unchanged.
    """
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # also on KeyboardInterrupt: half a file is useless
        temporary.unlink(missing_ok=True)
        raise
    flush_to_disk(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Writes ``data`` as the whole content of ``path``."""
    with atomic_file(path) as file:
        file.write(data)
