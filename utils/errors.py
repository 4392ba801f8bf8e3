"""Exit statuses, and the two kinds of error that end a run with a sentence instead of a traceback."""

from __future__ import annotations

from typing import Any

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SOME_SKIPPED = 3
EXIT_PREEMPTED = 75

OUT_OF_MEMORY = "out of memory"
"""How the sentence begins that says so, for the tables of benchmarks: what does not fit is no failure there."""


class UsageError(Exception):
    """The command line asks for what cannot be done: flags out of range or in contradiction. Ends with status 2."""


class RunError(Exception):
    """The run failed on the way: data, checkpoints, disk or numbers. Ends with status 1."""


def require(ok: bool, flag: str, value: Any, allowed: str) -> None:
    """Raises ``UsageError`` in the project's one wording for a value out of range."""
    if not ok:
        raise UsageError(f"--{flag} {value}: must be {allowed}")


def require_full_batch(batch_size: int, replicas: int, examples: int, where: str | None) -> None:
    """Raises ``UsageError`` when a step of all replicas takes more training examples than there are."""
    if batch_size * replicas > examples:
        raise UsageError(
            f"--batch_size {batch_size}: the global batch of {batch_size * replicas} is larger than the {examples} "
            f"training examples in {where}"
        )


def reason(error: BaseException) -> str:
    """The one line of an error's text that says what happened.

    TensorFlow's errors have it after where the graph was built, just before the name of the operation.
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    for number, line in enumerate(lines[1:], start=1):
        if line.lstrip().startswith("[[{{node"):
            return lines[number - 1].strip()
    return lines[0] if lines else type(error).__name__
