"""Starts several processes of a program on this machine: python -m tools.launch -np N COMMAND (no TF)."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from tools.command import run_command
from utils.errors import UsageError
from utils.local_communicator import OWN
from utils.system.child_process import end_with_parent

GRACE_S = 10.0
"""Seconds that processes get to end by themselves after one has failed, or after a second request to end."""
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
_REQUESTS = (signal.SIGTERM, signal.SIGINT)
_POLL_S = 0.05


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(  # not CommandParser: it would look for the command's flags among its own
        prog="python -m tools.launch",
        usage="%(prog)s [-h] -np N COMMAND [ARGUMENT ...]",
        description="Start N processes of a command on this machine; main.py connects them through its memory. Signals "
        "reach all of them. When one fails, the others end too. After a second Ctrl-C or SIGTERM those that do not end "
        f"within {GRACE_S:g} seconds are killed.",
        epilog="Exit status: that of the first process that failed, 128 + the signal if one ended it; else 0.",
    )
    parser.add_argument("-np", metavar="N", dest="processes", type=int, required=True, help="number of processes")
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="the program and its arguments")
    return parser


def launch(processes: int, command: Sequence[str]) -> int:
    """Runs the processes to their end and returns the status of the first that failed, or 0.

    Raises:
        UsageError: There is no such program, or the number is not positive.
    """
    if processes < 1:
        raise UsageError(f"-np {processes}: must be a positive integer")
    if not command:
        raise UsageError("no COMMAND to start; for example: python -m tools.launch -np 2 python main.py --help")
    with _received() as signals:
        started = _started(processes, command)
        return _wait(started, signals)


def _started(processes: int, command: Sequence[str]) -> list[subprocess.Popen[bytes]]:
    """Starts all processes.

    Raises:
        UsageError: There is no such program.
    """
    job = f"{os.getpid()}-{secrets.token_hex(16)}"  # a secret of these processes
    started: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            place = {OWN.size: str(processes), OWN.rank: str(rank), OWN.job: job}
            started.append(_start(command, os.environ | place, leads=rank == 0))
    except OSError as error:
        _kill(started)
        raise UsageError(f"{command[0]}: cannot be started: {error.strerror}") from error
    return started


def _start(command: Sequence[str], environ: dict[str, str], *, leads: bool) -> subprocess.Popen[bytes]:
    """Starts one process, in a session of its own: Ctrl-C reaches it once, through this program."""
    return subprocess.Popen(
        command,
        env=environ,
        stdin=None if leads else subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )


def _wait(started: Sequence[subprocess.Popen[bytes]], signals: list[int]) -> int:
    """Passes signals on until all processes have ended; kills those that do not end when they must."""
    failed, requests, deadline = 0, 0, float("inf")
    while any(process.poll() is None for process in started):
        while signals:
            number = signals.pop(0)
            for process in started:
                process.send_signal(number)
            if number in _REQUESTS:
                requests += 1
                signals.append(signal.SIGCONT)  # a suspended process can only end once it goes on
                deadline = min(deadline, time.monotonic() + GRACE_S) if requests > 1 else deadline
        time.sleep(_POLL_S)
        if not failed and (failed := _noticed_failure(started)):
            deadline = min(deadline, time.monotonic() + GRACE_S)
            signals.append(signal.SIGCONT)
        if time.monotonic() > deadline:
            _kill(started)
    failed = failed or _noticed_failure(started)
    if failed:
        _kill(started)  # what they have started
    return failed if failed >= 0 else 128 - failed


def _noticed_failure(started: Sequence[subprocess.Popen[bytes]]) -> int:
    """The status of a process that failed, 0 if none has; names one that a signal ended, as it could not say so."""
    for rank, process in enumerate(started):
        if status := process.poll():
            if status < 0:
                print(f"rank {rank}: was ended by {signal.Signals(-status).name}", file=sys.stderr, flush=True)
            return status
    return 0


def _kill(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Kills all processes with all that they have started in their sessions."""
    for process in started:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    for process in started:
        process.wait()


@contextmanager
def _received() -> Iterator[list[int]]:
    """Collects the numbers of signals to this program: one may come before all processes are started."""
    numbers: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        numbers.append(number)

    former = {number: signal.signal(number, note) for number in _FORWARDED}
    try:
        yield numbers
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def main(arguments: list[str]) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    return run_command(lambda: launch(options.processes, options.command))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
