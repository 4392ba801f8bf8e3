"""The choice of the screen by ``--console`` and by the types of standard output and standard error (no TF)."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from typing import TextIO

from utils.config import AUTO, DLLOGGER, READABLE
from utils.console.readable import ReadableScreen
from utils.console.screen import Screen
from utils.console.terminal import RichTerminal, console_of
from utils.dllogger_utils import DllScreen
from utils.hvd_utils import LAUNCHER_SIZES


def open_screen(choice: str, environ: Mapping[str, str]) -> Screen:
    """The screen of a launch.

    With "auto", the screen is readable if standard output is a terminal and no launcher started this process. Launchers
    of several processes give each one a pseudo-terminal and forward its output. "dllogger" draws no bar and leaves
    messages unchanged.

    Args:
        choice: The value of ``--console``.
        environ: The environment variables; some of them indicate a launcher.
    """
    out, error = sys.stdout, sys.stderr
    owns_terminal = not any(name in environ for name in LAUNCHER_SIZES)
    if choice == DLLOGGER or (choice == AUTO and not owns_terminal):
        return DllScreen(out)
    if out.isatty():
        shown = RichTerminal(console_of(out))
        return ReadableScreen(shown, shown, shown if error.isatty() else None)
    messages = RichTerminal(console_of(error)) if error.isatty() else None
    bars = messages if _is_file(out) else None  # behind a pipe such as "| tee", lines would run into the bar
    if choice == READABLE:
        return ReadableScreen(RichTerminal(console_of(out)), bars, messages)
    return DllScreen(out, bars, messages)


def _is_file(stream: TextIO) -> bool:
    """Returns whether a stream writes to a file or a null device instead of a pipe."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):  # a stream in memory
        return False
    return stat.S_ISREG(mode) or stat.S_ISCHR(mode)
