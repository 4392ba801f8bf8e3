"""Checks of this machine: runs probes in a process that may hang or crash, and yields a row for each (no TF)."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tools.doctor.probe import BROKEN, OK
from utils.program import plain

ROOT = Path(__file__).resolve().parent.parent.parent
_SERVE = "from tools.doctor.probe import serve; serve()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One part to check.

    Attributes:
        name: Its name in the table and in ``--require``.
        probe: The function that checks it, "module:function", or "module:function:text" if it takes a text.
        seconds: Time limit.
        needs: The check that this one depends on.
        essential: Whether every run needs it.
    """

    name: str
    probe: str
    seconds: float = 60.0
    needs: str | None = None
    essential: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of a check: ``state`` is "ok", "missing", "skipped" or "broken"."""

    name: str
    state: str
    text: str
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The row as a JSON object."""
        return {"state": self.state, "text": self.text, "seconds": self.seconds, **self.facts}


def run_checks(checks: Sequence[Check], environ: Mapping[str, str]) -> Iterator[CheckResult]:
    """Yields a row for each check as soon as it is known, in order.

    One process runs all of them. If a part crashes it or exceeds its time limit, that part is broken, and a new process
    continues with the next part.

    Args:
        checks: The checks to run.
        environ: The environment of the process.
    """
    broken: set[str] = set()
    worker: _Worker | None = None
    try:
        for check in checks:
            if check.needs in broken:
                row = CheckResult(name=check.name, state=BROKEN, text=f"needs {check.needs}, which is broken")
            else:
                worker = worker if worker is not None and worker.alive else _Worker(environ)
                row = worker.row(check)
            if row.state == BROKEN:
                broken.add(check.name)
            yield row
    finally:
        if worker is not None:
            worker.end()


class _Worker:
    """A process that runs one probe after another."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.alive = True
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed by end)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            cwd=ROOT,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,  # so that its children end with it
        )
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def row(self, check: Check) -> CheckResult:
        """Runs a check in the process, and ends the process if it does not answer."""
        text, started = "", time.monotonic()
        try:
            self._ask(check.probe)
            line = self._answers.get(timeout=check.seconds)
        except queue.Empty:
            line, text = b"", f"did not end within {check.seconds:g} s"
        if line:
            return CheckResult(name=check.name, **json.loads(line))
        text = text or self._death()
        self.end()
        return CheckResult(name=check.name, state=BROKEN, text=text, seconds=round(time.monotonic() - started, 1))

    def end(self) -> None:
        """Ends the process and its children."""
        if not self.alive:
            return
        self.alive = False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with contextlib.suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]  # they are pipes

    def _ask(self, probe: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # the process has died, as its missing answer shows
            self._process.stdin.write(f"{probe}\n".encode())  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def _read(self) -> None:
        for line in self._process.stdout:  # type: ignore[union-attr]
            self._answers.put(line)
        self._answers.put(b"")

    def _death(self) -> str:
        status = self._process.wait()
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        self._said.seek(0)
        lines = [line for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        return f"ended the process ({how})" + (f": {lines[-1].strip()}" if lines else "")


def not_in_order(rows: Sequence[CheckResult], names: Collection[str]) -> list[CheckResult]:
    """The rows of these names that are not in order."""
    return [row for row in rows if row.name in names and row.state != OK]


def format_line(row: CheckResult, width: int, paint: Callable[[str, str], str]) -> str:
    """A row of the table: name, state and text; ``paint`` colors a text by its state."""
    return f"{row.name:<{width}}  {paint(row.state, f'{row.state:<7}')}  {plain(row.text)}"
