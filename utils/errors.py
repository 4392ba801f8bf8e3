"""Exit statuses, and the two kinds of error that end a run with a sentence instead of a traceback."""

from __future__ import annotations

from typing import Any

from utils.text import printable

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SOME_SKIPPED = 3
EXIT_PREEMPTED = 75

OUT_OF_MEMORY = "out of memory"
"""Beginning of the message about exhausted memory; benchmark tables show it instead of counting a failure."""


class _ToldError(Exception):
    """An error that is told to people: a sentence, and any further lines as further arguments.

    Its text shows control characters and line breaks, as in names of files, as escapes.
    """

    def __str__(self) -> str:
        return "\n".join(printable(str(line)) for line in self.args)


class UsageError(_ToldError):
    """A usage error: flags out of range or in contradiction. Ends the program with status 2."""


class RunError(_ToldError):
    """A failure during the run, in data, checkpoints, disk or numbers. Ends the program with status 1."""


class CheckpointError(RunError):
    """A checkpoint that is missing or damaged; who has flags for checkpoints adds their names to the message."""


def require(ok: bool, flag: str, value: Any, allowed: str) -> None:
    """Raises ``UsageError`` with the project's standard message if a value is out of range."""
    if not ok:
        raise UsageError(f"--{flag} {value}: must be {allowed}")


def require_full_batch(batch_size: int, replicas: int, examples: int, where: str | None) -> None:
    """Raises ``UsageError`` if the global batch is larger than the training set."""
    if batch_size * replicas > examples:
        raise UsageError(
            f"--batch_size {batch_size}: the global batch of {batch_size * replicas} is larger than the {examples} "
            f"training examples in {where}"
        )


def reason(error: BaseException) -> str:
    """The line of an error's text that says what happened.

    In TensorFlow's errors it follows the stack trace of graph construction, just before the name of the operation.
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    for number, line in enumerate(lines[1:], start=1):
        if line.lstrip().startswith("[["):
            return lines[number - 1].strip()
    return lines[0] if lines else type(error).__name__
