"""One process at a time: a lock that ends with its holder, however that ends (no TF)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import RunError


@contextmanager
def locked(path: Path, refusal: str | None = None) -> Iterator[None]:
    """Holds the lock on a folder, or on a file that is made where it is missing, for the block.

    Waits while another process holds it, unless there is a ``refusal``.

    Raises:
        RunError: Another process holds it; says ``refusal``.
        OSError: The file cannot be made, or the folder not be opened.
    """
    mode = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, mode | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError as error:
            raise RunError(refusal) from error
        except OSError:  # some network file systems have no locks; the user must then keep to one process
            pass
        yield
    finally:
        os.close(descriptor)  # which also unlocks
