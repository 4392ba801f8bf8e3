"""Processes that train together: one is killed, frozen or terminated at any instant, or strangers talk to them.

All must end in time, the message must name the process, and a new launch must finish the training.
"""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import threading
import time
from pathlib import Path

import psutil

from tests.children import Children, fresh
from tests.distributed.launching import LOCAL, Job, descendants, end_all, started
from tests.torture.figures import Figures

START_S, LONGEST_S = 20.0, 300.0
_KINDS = ("killed", "frozen", "terminated", "strangers")
_SIGNALS = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP, "terminated": signal.SIGTERM}


class Ranks:
    """Attempts at two and three processes."""

    def __init__(self, children: Children, folder: Path, chance: random.Random) -> None:
        self._folder, self._chance = folder, chance
        self._data = folder / "data"
        done = children.run(_write, self._data, longest=LONGEST_S)
        if done.error or done.hung:
            raise RuntimeError(f"no data: {done.error}")

    def attempt(self, figures: Figures, number: int) -> None:
        """Disturbs one launch and finishes the training with another."""
        results = fresh(self._folder, number)
        size, kind = self._chance.choice((2, 3)), _KINDS[number % len(_KINDS)]
        rank, after = self._chance.randrange(size), self._chance.uniform(0, START_S)
        story = f"{number}: rank {rank} of {size} {kind} after {after:.1f} s"
        if kind == "strangers":
            story = f"{number}: {size} processes among strangers"
        with started(size, results, *self._flags(results, size), launcher=LOCAL) as job:
            if kind == "strangers":
                status = _among_strangers(job, self._chance.randrange(10**6))
                if status != 0:
                    figures.found("lost steps", f"{story}: status {status}: {_last(job)}")
            else:
                self._disturb(job, kind, rank, after, story, figures)
        with started(size, fresh(results, 1), *self._flags(results, size), launcher=LOCAL) as job:
            if (again := _status(job)) != 0:
                figures.found("lost steps", f"{story}: not resumed, status {again}: {_last(job)}")

    def _disturb(self, job: Job, kind: str, rank: int, after: float, story: str, figures: Figures) -> None:
        time.sleep(after)
        with contextlib.suppress(LookupError, psutil.Error):  # it has not begun, or is over
            job.rank(rank).send_signal(_SIGNALS[kind])
        status = _status(job, frozen=rank if kind == "frozen" else None)
        if status is None:
            figures.found("hangs", f"{story}: {_last(job)}")
        elif "Traceback" in job.text:
            figures.found("tracebacks", f"{story}: {_last(job)}")
        elif status not in (0, 75) and kind != "terminated" and f"rank {rank}" not in job.text:
            figures.found("silent differences", f"{story}: nobody names the process: {_last(job)}")

    def _flags(self, results: Path, size: int) -> tuple[str, ...]:
        return (
            *("--arch=resnet50", "--mode=train", f"--data_dir={self._data}", f"--results_dir={results / 'run'}"),
            *("--image_size=16", "--batch_size=2", "--num_iter=40", "--iter_unit=batch", "--lr_warmup_epochs=0"),
            *("--seed=3", "--checkpoint_every=5", "--no_report", "--cpu"),
        )


def _write(folder: Path) -> None:
    from tests.runtime.runs import write_data

    write_data(folder)


def _status(job: Job, frozen: int | None = None) -> int | None:
    """The exit status of a launch; None if it has to be ended.

    A frozen process goes on once all others have ended well: only the launcher waits for it then.
    """
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        status = job.process.poll()
        if status is not None:
            return int(status)
        if frozen is not None and set(job.ranks()) == {frozen}:
            with contextlib.suppress(psutil.Error):
                job.ranks()[frozen].send_signal(signal.SIGCONT)
        time.sleep(0.1)
    end_all(job.process)
    return None


def _last(job: Job) -> str:
    return " | ".join(job.text.strip().splitlines()[-2:])


def _among_strangers(job: Job, seed: int) -> int | None:
    """The exit status of a launch to whose sockets strangers connect all the time, silent, slow and with garbage."""
    over = threading.Event()
    strangers = [threading.Thread(target=_bother, args=(job, over, random.Random(seed + i))) for i in range(3)]
    for stranger in strangers:
        stranger.start()
    try:
        return _status(job)
    finally:
        over.set()
        for stranger in strangers:
            stranger.join()


def _bother(job: Job, over: threading.Event, chance: random.Random) -> None:
    held: list[socket.socket] = []
    while not over.wait(0.05):
        for host, port in _doors(job):
            with contextlib.suppress(OSError):
                line = socket.create_connection((host, port), timeout=1)
                held.append(line)
                line.settimeout(0.2)
                kind = chance.randrange(3)
                if kind == 1:
                    line.sendall(chance.randbytes(chance.choice((1, 100, 100_000))))
                elif kind == 2:
                    line.sendall(b"\x00")
        while len(held) > 30:
            held.pop(0).close()
    for line in held:
        line.close()


def _doors(job: Job) -> set[tuple[str, int]]:
    """The addresses at which the processes of a launch listen."""
    found = set()
    for process in descendants(job.process.pid):
        with contextlib.suppress(psutil.Error):
            for line in process.net_connections("tcp"):
                if line.status == psutil.CONN_LISTEN:
                    found.add(("127.0.0.1" if line.laddr.ip in ("0.0.0.0", "::") else line.laddr.ip, line.laddr.port))
    return found
