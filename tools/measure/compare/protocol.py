"""The contestant's side of the line protocol: a process that works on request and idles otherwise (no TF).

A contestant says its facts once it is warm, then answers each number of steps on its standard input with the time that
they took. This module needs the standard library only, because it also runs in the environment of the peers.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

MARK = "@compare "
"""Beginning of an answer; libraries print other lines."""
WARMUP_STEPS = 2
RUN_AHEAD = 12
"""Steps that an input may have made before its turn; no contestant prefetches so many."""
_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def say(answer: Mapping[str, Any]) -> None:
    """Answers with one line."""
    print(f"\n{MARK}{json.dumps(answer)}", flush=True)


def answer_of(line: str) -> dict[str, Any] | None:
    """The answer in a line of a contestant's output; None if a library printed it."""
    if not line.startswith(MARK):
        return None
    answer: dict[str, Any] = json.loads(line.removeprefix(MARK))
    return answer


def next_turn() -> int | None:
    """Waits for the next turn and returns its steps; None if the comparison is over."""
    line = sys.stdin.readline()
    return int(line) if line.strip() else None


class Turn:
    """A turn that has begun; says its time at its end."""

    def __init__(self) -> None:
        self._began, self._processor = time.perf_counter(), _processor_seconds()

    def end(self, seconds: float | None = None) -> None:
        """Says how long the turn took.

        Args:
            seconds: The time to count instead of all that has passed since the beginning.
        """
        passed, processor = time.perf_counter() - self._began, _processor_seconds() - self._processor
        peak = max(resource.getrusage(who).ru_maxrss for who in _WHO)
        counted = passed if seconds is None else seconds
        say(
            {
                "seconds": counted,
                "processor_seconds": processor * min(1.0, counted / passed),
                "peak_mb": round(peak / 1024),
            }
        )


def repeated(step: Callable[[], object]) -> Callable[[int], None]:
    """A function that does a number of steps."""

    def work(steps: int) -> None:
        for _ in range(steps):
            step()

    return work


def from_empty(step: Callable[[], object]) -> Callable[[int], float]:
    """A function that does a number of steps of an input, and counts none that was made before its turn.

    An input runs ahead while others have their turns; these steps are taken first.
    """

    def work(steps: int) -> float:
        for _ in range(RUN_AHEAD):
            step()
        began = time.perf_counter()
        for _ in range(steps):
            step()
        return time.perf_counter() - began

    return work


def _processor_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in _WHO]
    return sum(one.ru_utime + one.ru_stime for one in used)


def serve(work: Callable[[int], float | None], facts: Mapping[str, Any], warmup: int = WARMUP_STEPS) -> None:
    """Warms up, says the facts, and works in turns until the comparison is over.

    Args:
        work: Does a number of steps; may return the seconds to count for them.
        facts: Facts about the contestant, such as its version and precision.
        warmup: Number of steps before the first turn.
    """
    work(warmup)
    say(facts)
    while (steps := next_turn()) is not None:
        turn = Turn()
        turn.end(work(steps))
