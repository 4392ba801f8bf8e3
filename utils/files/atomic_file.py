"""Atomic writes: a file is complete or absent, whatever happens during writing (no TF).

No link is followed below the folder that a user named: temporary files are created exclusively, a link at the place of
a file is replaced, and one at the place of a subfolder is refused.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def temporary_name(path: Path) -> Path:
    """The hidden name beside ``path`` used while writing; a rerun replaces what a killed process left there."""
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

    Raises:
        OSError: The file cannot be written, or another process writes the same one.
    """
    temporary = temporary_name(path)
    temporary.unlink(missing_ok=True)  # of a killed process, or a link that leads elsewhere
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not _names(temporary, descriptor):
                raise OSError(errno.EBUSY, "another process writes the same file", str(path))
            temporary.replace(path)
        except BaseException:  # also on KeyboardInterrupt: half a file is useless
            if _names(temporary, descriptor):
                temporary.unlink()
            raise
    flush_to_disk(path.parent)


def _names(path: Path, descriptor: int) -> bool:
    """Returns whether a path is still that of an open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def write_atomically(path: Path, data: bytes) -> None:
    """Writes ``data`` as the whole content of ``path``."""
    with atomic_file(path) as file:
        file.write(data)


def make_folder_inside(root: Path, relative: Path | str) -> Path:
    """Creates a folder below ``root``, which may itself be a link, and returns it.

    Raises:
        OSError: A folder cannot be created, or ``relative`` leads out of ``root`` by a link, by ".." or by its root.
    """
    place = root
    place.mkdir(parents=True, exist_ok=True)
    for part in Path(relative).parts:
        place = place / part
        if part in ("..", os.sep) or place.is_symlink():
            raise OSError(errno.ELOOP, f"leads out of {root}, where nothing is written", str(place))
        place.mkdir(exist_ok=True)
    return place


def remove_whatever(path: Path) -> None:
    """Removes a file, a folder with its content, or a link but not its target; does nothing if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def move_into_place(source: Path, target: Path) -> None:
    """Gives a file or folder the name ``target`` once its content is on disk; replaces an older one of any kind."""
    for part in (source, *source.rglob("*")):
        flush_to_disk(part)
    if source.is_dir():
        aside = temporary_name(target)
        remove_whatever(aside)
        if target.is_symlink() or target.exists():  # a folder cannot replace one that is not empty
            target.replace(aside)
        source.replace(target)
        remove_whatever(aside)
    else:
        source.replace(target)
    flush_to_disk(target.parent)
