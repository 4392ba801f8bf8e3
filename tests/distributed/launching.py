"""Launches several processes of tiny networks, and reports their end."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from utils.dllogger_utils import read_log

TIME_OUT_S = 600
MPIEXEC = Path(sys.executable).parent / "mpiexec"
MPI = (str(MPIEXEC), "--allow-run-as-root", "--oversubscribe", "--bind-to", "none")
HOROVODRUN = (str(MPIEXEC.with_name("horovodrun")),)
LOCAL = (sys.executable, "-m", "tools.launch")
"""Starts processes that are connected without Horovod."""
RANKS = ("OMPI_COMM_WORLD_RANK", "LAUNCH_RANK")
PROGRAM = ("-m", "tests.runtime.tiny_main")


def need(launcher: tuple[str, ...]) -> None:
    """Skips a test if it needs Horovod and mpiexec and one of them is missing."""
    if launcher == LOCAL:
        return
    if importlib.util.find_spec("horovod") is None or not MPIEXEC.exists():
        pytest.skip("Horovod and mpiexec are not installed here; bash utils/install_horovod.sh")


@dataclass(frozen=True)
class Ended:
    """The outcome of a launch of several processes."""

    status: int
    text: str
    """Standard output and error of all processes."""
    seconds: float


class Job:
    """A running launch."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self._output = output
        self._began = time.monotonic()

    @property
    def text(self) -> str:
        return self._output.read_text(errors="replace")

    def rank(self, number: int) -> psutil.Process:
        """The process of a rank."""
        if number in (running := self.ranks()):
            return running[number]
        raise LookupError(f"there is no rank {number}: {self.text}")

    def ranks(self) -> dict[int, psutil.Process]:
        """The processes that are running, by rank."""
        running: dict[int, psutil.Process] = {}
        for child in descendants(self.process.pid):
            with contextlib.suppress(psutil.Error):
                given = child.environ()
                number = next((given[name] for name in RANKS if name in given), None)
                if number is not None and "python" in child.name():
                    running.setdefault(int(number), child)
        return running

    def wait_for(self, done: Callable[[], object]) -> None:
        """Waits until ``done`` is true, while the launch is running."""
        deadline = time.monotonic() + TIME_OUT_S
        while not done():
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.1)

    def end(self) -> Ended:
        """Waits for the launch to end."""
        status = self.process.wait(TIME_OUT_S)
        return Ended(status, self.text, time.monotonic() - self._began)


@contextlib.contextmanager
def started(
    size: int,
    tmp_path: Path,
    *flags: str | Path,
    program: tuple[str, ...] = PROGRAM,
    launcher: tuple[str, ...] = MPI,
) -> Iterator[Job]:
    """Starts ``size`` processes; none of them outlives the block."""
    need(launcher)
    command = [*launcher, "-np", str(size), sys.executable, *program, *map(str, flags)]
    output = tmp_path / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            yield Job(process, output)
        finally:
            end_all(process)


def end_all(process: subprocess.Popen[str]) -> None:
    """Ends a launcher and its descendants."""
    for pid in [process.pid, *(child.pid for child in descendants(process.pid))]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def descendants(pid: int) -> list[psutil.Process]:
    """The descendants of a process; empty if it has ended."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def launched(size: int, tmp_path: Path, *flags: str | Path, **how: tuple[str, ...]) -> Ended:
    """Runs ``size`` processes to their end; passes ``how`` to ``started``."""
    with started(size, tmp_path, *flags, **how) as job:
        return job.end()


def losses(log: Path) -> list[float]:
    """The total loss of every logged step."""
    records = [record for record in read_log(log) if record["type"] == "LOG" and len(record["step"]) == 2]
    return [record["data"]["total_loss"] for record in records if "total_loss" in record["data"]]


def summary(log: Path) -> dict[str, float]:
    """The last record of a log."""
    data: dict[str, float] = read_log(log)[-1]["data"]
    return data
