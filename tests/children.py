"""Functions run in processes of their own, forked from one that has loaded the libraries, and ended when they must."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAST_S = 5.0
"""Time in which a process that has answered may end by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a function in a process ended.

    Attributes:
        value: Its result; None if it was killed or failed.
        error: The traceback of an exception that it raised, or the signal that it died of; "" if it returned.
        hung: Whether it was ended because it took too long.
        killed: Whether it was killed on purpose: after a given time, or by itself.
        seconds: Its duration.
        peak_bytes: The largest memory of its process.
    """

    value: Any = None
    error: str = ""
    hung: bool = False
    killed: bool = False
    seconds: float = 0.0
    peak_bytes: int = 0


class Children:
    """Starts processes, one at a time; what they print is lost.

    Args:
        libraries: Modules to load once for all of them. Where a process has several of these objects, the libraries of
            the first to start a process are loaded.
    """

    def __init__(self, libraries: Sequence[str]) -> None:
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload([*libraries])

    def run(
        self, function: Callable[..., Any], *arguments: Any, longest: float | None, kill_after: float | None = None
    ) -> Ended:
        """Runs a function of a module in a process of its own.

        Args:
            function: It must be importable, its arguments and its result picklable.
            arguments: Its arguments.
            longest: After so many seconds the process counts as hung and is killed; None waits for ever.
            kill_after: Kill it after so many seconds on purpose.
        """
        receiver, sender = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=_work, args=(function, arguments, sender))
        process.start()
        sender.close()
        began = time.monotonic()
        ended, answer = False, None
        with contextlib.suppress(EOFError):
            ended = receiver.poll(longest if kill_after is None else kill_after)
            answer = receiver.recv() if ended else None
        seconds = time.monotonic() - began
        if answer is not None:
            process.join(LAST_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.kill()  # it may not have had the time to lead a group
        process.join()
        if answer is not None:
            value, error, peak = answer
            return Ended(value=value, error=error, seconds=seconds, peak_bytes=peak)
        if ended:  # the pipe broke: the process died by itself
            by_itself = process.exitcode == -signal.SIGKILL
            return Ended(error="" if by_itself else f"died with {process.exitcode}", killed=by_itself, seconds=seconds)
        return Ended(hung=kill_after is None, killed=kill_after is not None, seconds=seconds)


def _work(function: Callable[..., Any], arguments: tuple[Any, ...], sender: Any) -> None:
    os.setsid()
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    value, error = None, ""
    try:
        value = function(*arguments)
    except SystemExit as exit_:
        value = exit_.code
    except BaseException:
        error = traceback.format_exc()
    sender.send((value, error, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
    sender.close()


def last_line(error: str) -> str:
    """The last line of a traceback."""
    return error.strip().splitlines()[-1] if error.strip() else ""


def fresh(folder: Path, number: int) -> Path:
    """A new folder for an attempt."""
    made = folder / f"{number:05}"
    made.mkdir(parents=True)
    return made
