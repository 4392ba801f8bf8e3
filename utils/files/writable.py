"""Check that a folder can be made and written to, without making it (no TF)."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def require_writable(folder: Path) -> None:
    """Raises the error that making a folder and writing a file into it would end in.

    Raises:
        OSError: The folder cannot be made, or is not writable.
    """
    absolute = folder.absolute()
    nearest = next(place for place in (absolute, *absolute.parents) if _is_there(place))
    if not nearest.is_dir():
        raise _error(errno.EEXIST if nearest == absolute else errno.ENOTDIR, folder)
    if not os.access(nearest, os.W_OK | os.X_OK):
        read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY
        raise _error(errno.EROFS if read_only else errno.EACCES, folder)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
