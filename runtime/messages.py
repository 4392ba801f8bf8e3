"""The messages of a launch: on its screen, in the words of its command line, by rank 0 for all (no TF)."""

from __future__ import annotations

import logging
import os
import socket
from functools import partial
from pathlib import Path

from utils.cmdline_helper import Command
from utils.console.opening import open_screen
from utils.console.screen import Screen
from utils.text import printable


def show_messages(command: Command, screen: Screen | None = None) -> Screen:
    """Shows messages from now on.

    Args:
        command: The parsed command line.
        screen: The screen to show them on; None for the one that ``--console`` selects.

    Returns:
        The screen.
    """
    config = command.config
    screen = open_screen(config.run.console, os.environ) if screen is None else screen
    handler = screen.handler()
    handler.addFilter(lambda record: _spell(record, command))
    logging.basicConfig(level=config.run.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("tensorflow").setLevel(logging.WARNING)  # it logs each restored file, as this project does
    return screen


def leave_to_rank_0(rank: int) -> None:
    """Shows only critical messages of this process, which is not rank 0, and signs them."""
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.CRITICAL)
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        handler.addFilter(partial(_sign, f"rank {rank} on {socket.gethostname()}"))


def _spell(record: logging.LogRecord, command: Command) -> bool:
    """Rewrites a message with the flag names of the command line, and with escapes in its paths.

    As a log filter, it passes every record.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(printable(str(value)) if isinstance(value, Path) else value for value in record.args)
    record.msg, record.args = command.spelled(record.getMessage()), None
    return True


def _sign(who: str, record: logging.LogRecord) -> bool:
    """Puts the process before a message that does not begin with one; as a log filter, it passes every record."""
    text = record.getMessage()
    record.msg, record.args = text if text.startswith("rank ") else f"{who}: {text}", None
    return True
