"""Runs a command and turns its errors into a message on standard error and an exit status (no TF)."""

from __future__ import annotations

import sys
from collections.abc import Callable

from utils.errors import EXIT_FAILED, EXIT_PREEMPTED, EXIT_USAGE, RunError, UsageError


def run_command(action: Callable[[], int], *, interrupted: str = "nothing was finished") -> int:
    """Runs the action of a command and returns the exit status.

    Args:
        action: The work of the command; returns the exit status if nothing fails.
        interrupted: The text to print after "interrupted: " when the user stops the command.
    """
    try:
        return action()
    except UsageError as error:
        return _say(error, EXIT_USAGE)
    except RunError as error:
        return _say(error, EXIT_FAILED)
    except OSError as error:
        return _say(f"{error.filename}: {error.strerror}" if error.filename else error, EXIT_FAILED)
    except KeyboardInterrupt:
        print(f"interrupted: {interrupted}", file=sys.stderr)
        return EXIT_PREEMPTED


def _say(what: object, status: int) -> int:
    print(f"error: {what}", file=sys.stderr)
    return status
