"""Messages of TensorFlow's native code that its environment variable does not reach (no TF).

``TF_CPP_MIN_LOG_LEVEL`` rules TensorFlow's own logging. Others log by Abseil: oneDNN's notice, the CUDA factories, XLA.
Abseil has a level of its own, which no variable and no Python function sets (TensorFlow 2.21). Most of these messages
come while the libraries are loaded, before any level can be set: until then lines of that form are held back, and
afterwards the level in the library rules.
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
_WHERE = rb"\d{4} \d\d:\d\d:[\d.]+ +\d+ [\w./-]+:\d+\] "  # behind the letter of the severity
_HELD_BACK = (  # from which level of the variable on
    (1, re.compile(rb"I" + _WHERE)),
    (1, re.compile(rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR")),
    (2, re.compile(rb"W" + _WHERE)),
    (3, re.compile(rb"E" + _WHERE + rb"Unable to register cu\w+ factory")),
)
_LONGEST_WAIT_S = 1.0


@contextlib.contextmanager
def without_chatter(level: int) -> Iterator[None]:
    """Imports TensorFlow inside without its start-up messages; all else that is written to standard error goes on.

    A forked process passes the lines on, so that they arrive even where this one crashes.

    Args:
        level: As ``TF_CPP_MIN_LOG_LEVEL`` has it: 0 holds nothing back, 3 all but what ends the process.
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
    """Writes lines to ``error`` until all writers are gone, and ends this process."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # they are for the process that writes
            signal.signal(number, signal.SIG_IGN)
        with os.fdopen(read, "rb") as lines:
            for line in lines:
                if not is_chatter(line, level):
                    os.write(error, line)
    finally:
        os._exit(0)


def is_chatter(line: bytes, level: int) -> bool:
    """Return whether a line is one of those that are held back at a level."""
    return any(level >= least and pattern.match(line) for least, pattern in _HELD_BACK)


def _wait_for(helper: int) -> None:
    """Waits until all has been passed on, but not for long: a process that was started inside may write on."""
    until = time.monotonic() + _LONGEST_WAIT_S
    while os.waitpid(helper, os.WNOHANG) == (0, 0) and time.monotonic() < until:
        time.sleep(0.001)


def _set_level(level: int) -> None:
    """Sets the least severe level that Abseil logs at; where a build hides the function, it goes on logging."""
    package = importlib.util.find_spec("tensorflow")
    library = Path(next(iter(package.submodule_search_locations or ()), "")) / _LIBRARY if package else None
    if library is None or not library.is_file():
        return
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        name = _SET_LEVEL.search(content)
        symbol = name[0].decode("ascii") if name else None
    if symbol is not None:
        getattr(ctypes.CDLL(str(library)), symbol)(ctypes.c_int(level))
