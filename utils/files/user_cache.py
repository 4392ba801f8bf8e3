"""The folder of the user's cache (no TF)."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def user_cache() -> Path:
    """``XDG_CACHE_HOME``, or ``.cache`` in the user's home.

    Raises:
        FileNotFoundError: The user has no home.
    """
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named)
    try:
        return Path.home() / ".cache"
    except RuntimeError as error:  # in containers under a user without an entry in /etc/passwd
        raise FileNotFoundError(errno.ENOENT, "the user has no home folder; set XDG_CACHE_HOME") from error
