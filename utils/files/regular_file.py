"""Opens files by name: only regular files on a disk, never a device, a pipe or a file of the kernel (no TF)."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from functools import cache
from pathlib import Path
from typing import BinaryIO

StrPath = str | os.PathLike[str]

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_KERNEL_FOLDERS = ("/proc", "/sys")


def open_regular(path: StrPath) -> BinaryIO:
    """Opens a file for reading in binary mode.

    Raises:
        OSError: It is missing, may not be read, or is no regular file.
    """
    # A pipe without a writer would block the call; regular files ignore O_NONBLOCK.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if kind := _irregular_kind(status):
            raise OSError(errno.EINVAL, f"it is {kind}, and must be a regular file", os.fspath(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: StrPath, *, most: int) -> bytes:
    """The content of a regular file.

    Args:
        path: The file.
        most: Largest size in bytes.

    Raises:
        OSError: As in ``open_regular``, or the file is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, and must have at most {most:,}", os.fspath(path))
        return file.read(size)


def sha256(path: StrPath) -> str:
    """The SHA-256 of a regular file, in hexadecimal.

    Raises:
        OSError: As in ``open_regular``.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed wants readinto


def _irregular_kind(status: os.stat_result) -> str:
    """The kind of a file that is not regular; empty for a regular file."""
    for is_kind, name in _KINDS:
        if is_kind(status.st_mode):
            return name
    return "a file of the kernel" if status.st_dev in _kernel_devices() else ""


@cache
def _kernel_devices() -> frozenset[int]:
    """The devices of the file systems that the kernel makes up."""
    root = os.stat("/").st_dev  # noqa: PTH116
    found = {Path(folder).stat().st_dev for folder in _KERNEL_FOLDERS if Path(folder).is_dir()}
    return frozenset(found - {root})
