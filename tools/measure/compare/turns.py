"""Contestants as processes, and the turns that they take (no TF)."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.measure.compare.protocol import answer_of
from utils.text import one_line

ROOT = Path(__file__).resolve().parents[3]
START_S, TURN_S = 1800.0, 900.0
"""Longest time until a contestant is warm, and longest turn."""
SHORTEST_TURN_S = 2.0
"""Turns of fast networks have as many steps as fill this time."""
PAUSE_S = 0.5
"""Pause after each turn, in which the threads of a contestant go to sleep."""
_SECONDS_TO_END = 10.0
_LAST_LETTERS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A process to start.

    Attributes:
        name: Its name in tables.
        command: Its command, which speaks the protocol.
        peer: Whether this program's contestants are compared with it.
        work: Units of work in a step: images, or GFLOP of the machine's peak.
        precision: The compute type that the cell asks for; None if any will do.
    """

    name: str
    command: tuple[str, ...]
    peer: bool
    work: float = 1.0
    precision: str | None = None


class DiedError(Exception):
    """A contestant ended or fell silent; the message has its last words."""


class Worker:
    """The running process of a contestant.

    Args:
        contestant: The contestant.
        threads: Threads of libraries that read OMP_NUM_THREADS.

    Attributes:
        facts: Its facts.
        start_s: The time until it was warm.

    Raises:
        DiedError: It ended before it was warm.
    """

    def __init__(self, contestant: Contestant, threads: int) -> None:
        self.contestant = contestant
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        self._rest = b""
        began = time.perf_counter()
        try:
            self._process = subprocess.Popen(
                contestant.command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise DiedError(f"{contestant.command[0]}: {error.strerror}") from error
        try:
            self.facts = self._answer(START_S)
        except BaseException:
            self.kill()
            raise
        self.start_s = time.perf_counter() - began

    def turn(self, steps: int) -> Mapping[str, Any]:
        """Has it do steps, and returns its answer.

        Raises:
            DiedError: It ended or fell silent.
        """
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(f"{steps}\n".encode())
            stdin.flush()
        except OSError:  # it has ended; what it said last follows
            pass
        return self._answer(TURN_S)

    def close(self) -> None:
        """Ends it, by force if it does not end by itself."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_END)
        self.kill()

    def kill(self) -> None:
        """Ends it at once, and the processes that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads a session of its own
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(OSError):  # what was still to be written
                if stream is not None:
                    stream.close()

    def _answer(self, seconds: float) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        deadline = time.monotonic() + seconds
        while True:
            line, found, rest = self._rest.partition(b"\n")
            if found:
                self._rest = rest
                answer = answer_of(line.decode(errors="replace"))
                if answer is not None:
                    return answer
                continue
            if not select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise DiedError(f"no answer within {seconds:g} s")
            read = os.read(stdout.fileno(), 1 << 16)
            if not read:
                raise DiedError(self._last_words())
            self._rest += read

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        ending = f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{ending}: {one_line(lines[-1])[:_LAST_LETTERS]}" if lines else ending


@dataclass(slots=True, kw_only=True)
class Score:
    """The achievement of a contestant.

    Attributes:
        contestant: The contestant.
        facts: Its facts.
        start_s: The time until it was warm.
        steps: Steps in a turn.
        seconds: Seconds of a step, by round.
        processor_s: The same in processor time of its process.
        peak_mb: The highest memory of its process.
    """

    contestant: Contestant
    facts: Mapping[str, Any]
    start_s: float
    steps: int
    seconds: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    peak_mb: int = 0

    @property
    def speeds(self) -> list[float]:
        """Units of work per second, by round."""
        return [self.contestant.work / seconds for seconds in self.seconds]

    def add(self, answer: Mapping[str, Any]) -> None:
        """Adds a turn."""
        self.seconds.append(answer["seconds"] / self.steps)
        self.processor_s.append(answer.get("processor_seconds", math.nan) / self.steps)
        self.peak_mb = max(self.peak_mb, answer.get("peak_mb", 0))


class Match:
    """Contestants that are alive at the same time and take turns.

    Args:
        threads: Threads of each.
        say: Shows progress.

    Attributes:
        scores: The scores by name, of those that are alive.
        died: The last words of the others by name.
    """

    def __init__(self, threads: int, say: Callable[[str], None] = lambda text: None) -> None:
        self._threads = threads
        self._say = say
        self._workers: dict[str, Worker] = {}
        self.scores: dict[str, Score] = {}
        self.died: dict[str, str] = {}

    def __enter__(self) -> Match:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for worker in self._workers.values():
            if kind is None:
                worker.close()
            else:
                worker.kill()

    def enter(self, contestant: Contestant, steps: int, *, extend: bool = True) -> None:
        """Starts a contestant and lets it warm up; one that dies goes among the dead.

        Args:
            contestant: The contestant.
            steps: Least steps of a turn.
            extend: Extend short turns to ``SHORTEST_TURN_S``.
        """
        name = contestant.name
        self._say(f"{name} starts")
        with self._outlived(name):
            worker = self._workers[name] = Worker(contestant, self._threads)
            length = worker.turn(2)["seconds"] / 2 if extend else math.inf
            steps = max(steps, math.ceil(SHORTEST_TURN_S / length))
            self.scores[name] = Score(contestant=contestant, facts=worker.facts, start_s=worker.start_s, steps=steps)

    def dismiss(self, name: str) -> None:
        """Ends a contestant before the others."""
        self.scores.pop(name, None)
        if name in self._workers:
            self._workers.pop(name).close()

    def round(self, order: Sequence[str]) -> None:
        """Gives those of the order that are alive a turn each."""
        for name in order:
            if name not in self.scores:
                continue
            score = self.scores[name]
            with self._outlived(name):
                score.add(self._workers[name].turn(score.steps))
            time.sleep(PAUSE_S)

    def play(self, rounds: int) -> None:
        """Gives each contestant a turn in each round; another one begins each time."""
        names = [*self.scores]
        for number in range(rounds):
            self._say(f"round {number + 1} of {rounds}")
            first = number % max(1, len(names))
            self.round([*names[first:], *names[:first]])

    @contextlib.contextmanager
    def _outlived(self, name: str) -> Any:
        """Counts a contestant that dies among the dead, and goes on."""
        try:
            yield
        except DiedError as error:
            self._say(f"{name} died: {error}")
            self.died[name] = f"died: {error}"
            self.dismiss(name)


def disagreements(scores: Iterable[Score]) -> dict[str, str]:
    """The contestants that do other work than the first one, by name, with the difference.

    They compute in another type than the cell's, or their output or number of parameters is another.
    """
    first: dict[str, Score] = {}
    found = {score.contestant.name: _difference(score, first) for score in scores}
    return {name: difference for name, difference in found.items() if difference}


def _difference(score: Score, first: dict[str, Score]) -> str:
    """The difference from the first contestant that states a fact, which it may be itself; empty if there is none."""
    wanted, facts = score.contestant.precision, score.facts
    if wanted is not None and facts.get("precision") != wanted:
        return f"computes in {facts.get('precision')}"
    for what in (name for name in ("output", "parameters") if name in facts):
        reference = first.setdefault(what, score)
        if facts[what] != reference.facts[what]:
            return f"{what} {facts[what]}, but {reference.facts[what]} of {reference.contestant.name}"
    return ""
