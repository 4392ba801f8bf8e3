"""Files that are complete or absent, whatever happens while they are written (no TF)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def temporary_name(path: Path) -> Path:
    """The hidden name beside ``path`` under which it grows; a rerun overwrites what a killed one left there."""
    return path.with_name(f".{path.name}.tmp")


def flush_to_disk(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that takes the name ``path`` only once all of it is on the disk.

    When the block raises, or the disk is full, the temporary file is removed and an older ``path`` stays as it was.
    """
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # also KeyboardInterrupt: half a file is of no use to anyone
        temporary.unlink(missing_ok=True)
        raise
    flush_to_disk(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Writes ``data`` as the whole content of ``path``."""
    with atomic_file(path) as file:
        file.write(data)
