"""Suppresses messages of TensorFlow's native code that its environment variable does not reach (no TF).

``TF_CPP_MIN_LOG_LEVEL`` only controls TensorFlow's own logging. oneDNN's notice, the CUDA factories and XLA log through
Abseil, whose level no variable and no Python function sets (TensorFlow 2.21). Most of these messages appear while the
libraries load, before a level can be set. A filter on standard error drops them during the import; afterwards, the
level is set in the loaded library.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import mmap
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

_LIBRARY = "libtensorflow_framework.so.2"
_SET_LEVEL = re.compile(rb"_ZN4absl(?:\d+lts_\d+)?14SetMinLogLevelENS\w*_18LogSeverityAtLeastE")
_WHERE = rb"\d{4} \d\d:\d\d:[\d.]+ +\d+ [\w./-]+:\d+\] "  # after the letter of the severity
_HELD_BACK = (  # with the lowest level that suppresses each
    (1, re.compile(rb"I" + _WHERE)),
    (1, re.compile(rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR")),
    (2, re.compile(rb"W" + _WHERE)),
    (3, re.compile(rb"E" + _WHERE + rb"Unable to register cu\w+ factory")),
)
_LONGEST_WAIT_S = 1.0


@contextlib.contextmanager
def without_chatter(level: int) -> Iterator[None]:
    """Drops TensorFlow's start-up messages from standard error while its block imports TensorFlow.

    A forked process forwards all other lines, so that none is lost if this process crashes.

    Args:
        level: The value of ``TF_CPP_MIN_LOG_LEVEL``: 0 drops nothing, 3 all messages except fatal ones.
    """
    if level <= 0 or "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    error = os.dup(2)
    read, write = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(write)
        _pass_on(read, error, level)
    os.dup2(write, 2)
    os.close(write)
    os.close(read)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(error, 2)
        os.close(error)
        _wait_for(helper)
    _set_level(level)


def _pass_on(read: int, error: int, level: int) -> NoReturn:
    """Forwards lines to ``error`` until the pipe is closed, then ends this process."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # signals are meant for the other process
            signal.signal(number, signal.SIG_IGN)
        with os.fdopen(read, "rb") as lines:
            for line in lines:
                if not is_chatter(line, level):
                    os.write(error, line)
    finally:
        os._exit(0)


def is_chatter(line: bytes, level: int) -> bool:
    """Returns whether a line is dropped at a level."""
    return any(level >= least and pattern.match(line) for least, pattern in _HELD_BACK)


def _wait_for(helper: int) -> None:
    """Waits for the last line, but only briefly: a child process may keep the pipe open."""
    until = time.monotonic() + _LONGEST_WAIT_S
    while os.waitpid(helper, os.WNOHANG) == (0, 0) and time.monotonic() < until:
        time.sleep(0.001)


def _set_level(level: int) -> None:
    """Sets Abseil's minimum log level; a build that does not export the function keeps its level."""
    package = importlib.util.find_spec("tensorflow")
    library = Path(next(iter(package.submodule_search_locations or ()), "")) / _LIBRARY if package else None
    if library is None or not library.is_file():
        return
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        name = _SET_LEVEL.search(content)
        symbol = name[0].decode("ascii") if name else None
    if symbol is not None:
        getattr(ctypes.CDLL(str(library)), symbol)(ctypes.c_int(level))
