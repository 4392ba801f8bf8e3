"""Standard output whose reader ends early, as ``head`` does (no TF)."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from utils.errors import EXIT_FAILED

_STANDARD_OUTPUT = 1
_log = logging.getLogger(__name__)


def show_page(text: str) -> None:
    """Prints a page to its end, or as much of it as is read; where it cannot be written, ends the program."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        discard_output()
    except OSError as error:  # a full disk
        discard_output()
        print(f"error: standard output: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_FAILED)


def go_on_without(stream: Any, reason: str | None) -> None:
    """Discards what a run still prints to a stream that takes no more: the files of the run have all of it."""
    discard_output(stream.fileno())
    _log.warning("the console takes no more (%s); the run continues, and its log file has every record", reason)


def discard_output(number: int = _STANDARD_OUTPUT) -> None:
    """Discards what is printed to a descriptor from now on, and what Python would still print at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
