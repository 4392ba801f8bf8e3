"""The contestant whose steps are whole processes, started one after the other (no TF)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.measure.compare.protocol import serve
from utils.dllogger_utils import read_log

FOLDER = "FOLDER"
"""Stands in a command for a new folder of each launch."""


def main() -> None:
    """Runs the contestant that the command line describes in JSON."""
    launches(**json.loads(sys.argv[1]))


def launches(command: Sequence[str], folder: str, facts: Mapping[str, Any], until_step: bool = False) -> None:
    """Launches a command in each step, and counts the time to its end.

    Args:
        command: The command; ``FOLDER`` in it becomes a new folder.
        folder: Folder for these folders.
        facts: Facts about the contestant.
        until_step: Count the time to the end of the first step in the run's log.json, which lies in the new folder.
    """
    launched = 0

    def work(steps: int) -> float:
        nonlocal launched
        seconds = 0.0
        for _ in range(steps):
            launched += 1
            new = Path(folder) / str(launched)
            began, clock = time.time(), time.perf_counter()
            _run([word.replace(FOLDER, str(new)) for word in command])
            seconds += first_step(new / "log.json") - began if until_step else time.perf_counter() - clock
        return seconds

    serve(work, facts, warmup=1)


def first_step(log: Path) -> float:
    """The time at which a run had logged its first step, in seconds since the epoch."""
    steps = (one for one in read_log(log) if one.get("type") == "LOG" and isinstance(one.get("step"), list))
    return next(float(one["timestamp"]) for one in steps if one["step"])


def _run(command: Sequence[str]) -> None:
    """Runs a command.

    Raises:
        SystemExit: It failed; the message is its last line.
    """
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise SystemExit(words[-1] if words else f"ended with status {done.returncode}")
