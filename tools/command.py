"""The end of every command: an error becomes a sentence on standard error and the exit status of its kind (no TF)."""

from __future__ import annotations

import sys
from collections.abc import Callable

from utils.errors import EXIT_FAILED, EXIT_PREEMPTED, EXIT_USAGE, RunError, UsageError


def run_command(action: Callable[[], int], *, interrupted: str = "nothing was finished") -> int:
    """Runs what a command does and returns its exit status.

    Args:
        action: Returns the status where nothing goes wrong.
        interrupted: What is said after "interrupted: " when the user ends it.
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
