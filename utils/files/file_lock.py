"""A file lock for one process at a time, released when its holder ends for any reason (no TF)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import RunError


@contextmanager
def locked(path: Path, refusal: str | None = None) -> Iterator[None]:
    """Holds the lock on a folder or a file for the block; creates the file if it is missing.

    Without a ``refusal``, waits while another process holds the lock.

    Raises:
        RunError: Another process holds the lock; the message is ``refusal``.
        OSError: The file cannot be created, or the folder cannot be opened.
    """
    mode = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(path, mode | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError as error:
            raise RunError(refusal) from error
        except OSError:  # some network file systems have no locks; there the user has to run one process at a time
            pass
        yield
    finally:
        os.close(descriptor)  # also releases the lock
