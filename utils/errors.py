"""Exit statuses, and the two kinds of error that end a run with a sentence instead of a traceback."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SOME_SKIPPED = 3
EXIT_PREEMPTED = 75


class UsageError(Exception):
    """What was asked for cannot be done: flags out of range or in contradiction. Ends with status 2."""


class RunError(Exception):
    """What was asked for failed on the way: data, checkpoints, disk or numbers. Ends with status 1."""
