"""Paths that data gives for files below a folder: none may lead out of it, or to anything but a file (no TF)."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath

from utils.files.regular_file import open_regular


def is_path_below(name: str) -> bool:
    """Returns whether a name can stand for a file below a folder: neither absolute nor with a part ".."."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts


def fault_below(folder: Path, name: str) -> str:
    """The fault of a path below a folder, or empty: a link leads out of the folder, or it is no regular file.

    A file that is missing or cannot be opened has none.
    """
    path, mode, is_linked = os.fspath(folder), 0, False
    try:
        for part in PurePosixPath(name).parts:
            path = f"{path}/{part}"
            mode = os.lstat(path).st_mode
            is_linked = is_linked or stat.S_ISLNK(mode)
    except OSError:
        return ""
    if stat.S_ISREG(mode) and not is_linked:
        return ""
    if is_linked:
        root, target = os.path.realpath(folder), os.path.realpath(path)
        if os.path.commonpath((root, target)) != root:
            return f"leads through a link out of {folder}"
    try:
        open_regular(path).close()
    except OSError as error:
        return f"cannot be an image: {error.strerror}" if error.errno in (errno.EINVAL, errno.EISDIR) else ""
    return ""
