"""Launches of ``main.py``, one after the other, each repeated until it has ended by itself (no TF)."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from tools.sweep.plan import Launch
from utils.errors import EXIT_DONE, EXIT_PREEMPTED, EXIT_SOME_SKIPPED
from utils.files.atomic_file import remove_whatever, write_atomically
from utils.files.json_values import typed
from utils.reporting.evaluation_file import EVALUATION_NAME
from utils.system.child_process import end_with_parent
from utils.text import one_line

RESULT_NAME, OUTPUT_NAME, LOCK_NAME = "result.json", "output.txt", "lock"
MOST_ATTEMPTS = 3
"""Times that one command of a sweep starts a launch that was ended by a signal."""
GRACE_S = 30.0
"""Seconds that a launch gets to save its state after a second request to end."""
DONE, FAILED, UNFINISHED = "done", "failed", "unfinished"
_REQUESTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
_POLL_S = 0.05
_MAIN = Path(__file__).resolve().parents[2] / "main.py"
_CHECKPOINTS = ("model.ckpt-*", "checkpoint", "best")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The state of a launch, as stored in its folder.

    Attributes:
        state: ``DONE``, ``FAILED`` or ``UNFINISHED``.
        reason: The last line that it printed, if it failed.
        attempts: How often it was started.
        seconds: Time of all attempts.
        processor_seconds: Processor time of all attempts, of all threads.
    """

    state: str = UNFINISHED
    reason: str = ""
    attempts: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0


def stored_result(folder: Path) -> Result:
    """The result of earlier attempts; an unfinished one if there are none."""
    try:
        content: dict[str, Any] = json.loads((folder / RESULT_NAME).read_bytes())
        return Result(
            state=typed(content, "state", str),
            reason=typed(content, "reason", str),
            attempts=typed(content, "attempts", int),
            seconds=float(typed(content, "seconds", float)),
            processor_seconds=float(typed(content, "processor_seconds", float)),
        )
    except (OSError, ValueError, AttributeError):
        return Result()


class Requests:
    """The signals that asked this program to end.

    Attributes:
        count: Their number.
    """

    def __init__(self) -> None:
        self.count = 0

    def note(self, number: int, frame: FrameType | None) -> None:
        """Counts a signal."""
        del number, frame
        self.count += 1


@contextmanager
def requests_to_end() -> Iterator[Requests]:
    """Collects signals for a block, so that a launch can save its state before the sweep ends.

    Signals that are ignored stay so, as under nohup.
    """
    requests = Requests()
    heeded = [number for number in _REQUESTS if signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, requests.note) for number in heeded}
    try:
        yield requests
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def finish(launch: Launch, requests: Requests, *, keep_checkpoints: bool) -> Result:
    """Runs a launch to its end unless an earlier sweep did; one that a signal ended is started again.

    Raises:
        KeyboardInterrupt: A signal asked the sweep to end; the launch has saved its state.
    """
    launch.folder.mkdir(parents=True, exist_ok=True)
    result, more = stored_result(launch.folder), MOST_ATTEMPTS
    while result.state != DONE and more:
        if requests.count:
            raise KeyboardInterrupt
        status, used = _run(launch, requests)
        more -= 1
        again = more and (status < 0 or status == EXIT_PREEMPTED)
        result = replace(
            _judged(launch, status, again=bool(again or requests.count)),
            attempts=result.attempts + 1,
            seconds=round(result.seconds + used[0], 3),
            processor_seconds=round(result.processor_seconds + used[1], 3),
        )
        write_atomically(launch.folder / RESULT_NAME, json.dumps(asdict(result), indent=1).encode() + b"\n")
        if result.state == FAILED:
            break
    if result.state == DONE and not keep_checkpoints:
        for pattern in _CHECKPOINTS:
            for path in launch.folder.glob(pattern):
                remove_whatever(path)
    return result


def _judged(launch: Launch, status: int, *, again: bool) -> Result:
    """The result of an attempt that ended with an exit status, or by a signal if it is negative."""
    if status in (EXIT_DONE, EXIT_SOME_SKIPPED):
        if (launch.folder / EVALUATION_NAME).is_file():
            return Result(state=DONE)
        return Result(state=FAILED, reason=f"it left no {EVALUATION_NAME}")
    if again:
        return Result(state=UNFINISHED)
    if status < 0:
        return Result(state=FAILED, reason=f"it was ended by {signal.Signals(-status).name} {MOST_ATTEMPTS} times")
    return Result(state=FAILED, reason=_last_line(launch.folder / OUTPUT_NAME) or f"status {status}")


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return next((one_line(line) for line in reversed(lines) if line.strip()), "")


def _run(launch: Launch, requests: Requests) -> tuple[int, tuple[float, float]]:
    """Runs one attempt; returns its exit status, its time and its processor time in seconds."""
    descriptor = os.open(launch.folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _hold(descriptor, requests)
        with (launch.folder / OUTPUT_NAME).open("ab") as output:
            began = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, str(_MAIN), *launch.flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches it once, through this program
                preexec_fn=end_with_parent,
                pass_fds=(descriptor,),
            )
        status, processor_seconds = _wait(process, requests)
        return status, (time.monotonic() - began, processor_seconds)
    finally:
        os.close(descriptor)


def _hold(descriptor: int, requests: Requests) -> None:
    """Takes the lock of a launch, which its process inherits.

    It outlives a sweep that was killed until it has saved its state, so that two processes never share its folder.
    """
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if requests.count:
                raise KeyboardInterrupt from None
            time.sleep(_POLL_S)
        except OSError:  # some network file systems have no locks
            return
        else:
            return


def _wait(process: subprocess.Popen[bytes], requests: Requests) -> tuple[int, float]:
    """Waits for a process and passes requests to end on; returns its exit status and its processor time."""
    passed, deadline = 0, float("inf")
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)  # Popen's own methods do not tell the time
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime + usage.ru_stime
        if requests.count > passed:
            deadline = time.monotonic() + GRACE_S if passed else deadline
            passed = requests.count
            os.kill(process.pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(_POLL_S)
