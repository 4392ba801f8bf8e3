"""Processes that wait for jobs: tests without faults share them, so that each imports TensorFlow only once.

Each process is ``python -m tests.distributed.pool``, started by a launcher. Rank 0 reads a job from its standard input:
one JSON line that names a file for the output and a program with its flags. All processes run it, and rank 0 answers
with their statuses. An empty line ends them.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT
from tests.distributed.launching import MPI, Ended, descendants, end_all, need

ANSWER = "job done: "
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Has the kernel kill this process once its parent has ended, even if this process is suspended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Pool:
    """Processes of one launch, which run one job after another and are suspended in between.

    Waiting for each other in Horovod's cycles, they would take CPU time from other tests.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def __call__(self, tmp_path: Path, *flags: str | Path, program: str = "main") -> Ended:
        """Runs a program with flags in all processes."""
        output, began = tmp_path / "output.txt", time.monotonic()
        output.unlink(missing_ok=True)
        self.resume()
        job = {"program": program, "flags": [str(flag) for flag in flags], "output": str(output)}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                statuses = json.loads(line.removeprefix(ANSWER))
                self._suspend()
                return Ended(max(statuses), output.read_text(errors="replace"), time.monotonic() - began)
        said = [path.read_text(errors="replace") for path in (self._log, output) if path.exists()]
        raise AssertionError("the processes ended: " + "".join(said))

    def resume(self) -> None:
        """Resumes the processes."""
        for child in descendants(self._process.pid):
            child.resume()

    def _suspend(self) -> None:
        for child in descendants(self._process.pid):
            if "python" in child.name():
                child.suspend()


@contextlib.contextmanager
def pool_of(size: int, log: Path, launcher: tuple[str, ...] = MPI) -> Iterator[Pool]:
    """Starts ``size`` processes that end with the block."""
    need(launcher)
    command = [*launcher, "-np", str(size), sys.executable, "-m", "tests.distributed.pool"]
    environment = os.environ | {"HOROVOD_STALL_CHECK_DISABLE": "1"}  # waiting for a job is not a stall
    environment |= {"HOROVOD_FUSION_THRESHOLD": "0"}  # as --deterministic sets it, which some jobs have
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            start_new_session=True, preexec_fn=_end_with_parent,
        )  # fmt: skip
        try:
            pool = Pool(process, log)
            yield pool
            pool.resume()
            print(file=process.stdin, flush=True)  # ends the processes: mpiexec does not pass on the end of the pipe
            process.wait(60)
        finally:
            end_all(process)
            process.stdin.close(), process.stdout.close()


@contextlib.contextmanager
def _printing_to(path: str) -> Iterator[None]:
    """Appends standard output and error of this process, including that of libraries, to a file."""
    sys.stdout.flush(), sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for number in (1, 2):
            os.dup2(file, number)
        yield
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        for number, former in zip((1, 2), kept, strict=True):
            os.dup2(former, number)
            os.close(former)
        os.close(file)


def _work() -> None:
    _end_with_parent()
    from runtime.environment import environment_for
    from utils.cmdline_helper import parse

    config = parse(["--mode=training_benchmark", "--batch_size=1"], os.environ).config
    os.environ.update(environment_for(config, os.environ))
    import main
    from tests.distributed.communicator_contract import keep
    from tests.runtime.runs import tiny_networks
    from utils.hvd_utils import communicator

    programs = {"main": main.main, "contract": keep}
    processes = communicator(os.environ)
    while True:
        line = processes.broadcast(sys.stdin.readline() if processes.rank == 0 else None)
        if not line.strip():
            return
        job = json.loads(line)
        with _printing_to(job["output"]), tiny_networks():
            status = programs[job["program"]](job["flags"])
        statuses = processes.gather(status)
        if processes.rank == 0:
            print(f"{ANSWER}{json.dumps(statuses)}", flush=True)


if __name__ == "__main__":
    _work()
