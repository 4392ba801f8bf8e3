"""Check that a folder can be made and written to, without making it (no TF)."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_PROBE = ".writable-probe"
_WITHOUT_NAMELESS_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOSYS)


def require_writable(folder: Path) -> None:
    """Raises the error that making a folder and writing a file into it would end in.

    Raises:
        OSError: The folder cannot be made, or is not writable.
    """
    absolute = folder.absolute()
    nearest = next(place for place in (absolute, *absolute.parents) if _is_there(place))
    if not nearest.is_dir():
        raise _error(errno.EEXIST if nearest == absolute else errno.ENOTDIR, folder)
    missing = absolute.relative_to(nearest).parts
    try:
        _try_to_write(nearest, missing[0] if missing else _PROBE)
    except OSError as error:
        raise _error(error.errno or errno.EIO, folder) from error


def _try_to_write(folder: Path, name: str) -> None:
    """Makes a file without a name, which leaves no trace, or a folder that it removes where such files do not exist."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as error:
        if error.errno not in _WITHOUT_NAMELESS_FILES:
            raise
        (folder / name).mkdir()
        (folder / name).rmdir()


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
