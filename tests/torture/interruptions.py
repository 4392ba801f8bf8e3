"""Trainings that are killed at any instant or file operation, or whose disk fails; each is resumed to its end.

A resumed training must end with the checkpoint of one that nobody disturbed, bit for bit, and its log must hold every
step with the same loss.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from tests.children import Children, Ended, fresh, last_line
from tests.torture.figures import Figures

STEPS = 6
CHANGES = frozenset(
    ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree")
)
LONGEST_S = 300.0
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_MOST_KILLS = 3


class Interruptions:
    """Attempts at one kind of disturbance: "kills" at any instant, "operations" at a file's, or "disks"."""

    def __init__(self, kind: str, children: Children, folder: Path, chance: random.Random) -> None:
        self._kind, self._children, self._folder, self._chance = kind, children, folder, chance
        self._data = folder / "data"
        whole = children.run(_whole, self._data, folder / "whole", longest=LONGEST_S)
        if whole.error or whole.hung:
            raise RuntimeError(f"a training that nobody disturbs fails: {whole.error or 'it hangs'}")
        self._operations: int = whole.value
        self._seconds = whole.seconds

    def attempt(self, figures: Figures, number: int) -> None:
        """Disturbs a training some times, resumes it to the end and compares."""
        results = fresh(self._folder, number)
        story = []
        for _ in range(self._chance.randint(1, _MOST_KILLS)):
            how, ended = self._disturbed(results)
            story.append(how)
            if ended.hung:
                return figures.found("hangs", " ".join(story))
            if ended.error:
                return figures.found("tracebacks", f"{' '.join(story)}: {last_line(ended.error)}")
        done = self._children.run(_compared, self._data, results, self._folder / "whole", longest=LONGEST_S)
        if done.hung or done.error:
            return figures.found("hangs" if done.hung else "tracebacks", f"{story}, resumed: {last_line(done.error)}")
        for kind, text in done.value:
            figures.found(kind, f"{' '.join(story)}: {text}")
        return None

    def _disturbed(self, results: Path) -> tuple[str, Ended]:
        if self._kind == "kills":
            after = self._chance.uniform(0, self._seconds)
            ended = self._children.run(_train, self._data, results, longest=LONGEST_S, kill_after=after)
            return f"killed after {after:.2f} s", ended
        at = self._chance.randint(1, self._operations)
        if self._kind == "operations":
            return f"killed at file operation {at}", self._children.run(
                _killed, self._data, results, at, longest=LONGEST_S
            )
        size = self._chance.choice((None, 0, 100, 5_000, 50_000))
        text = f"file operations fail from {at} on" if size is None else f"files of more than {size} bytes fail"
        return text, self._children.run(_on_a_bad_disk, self._data, results, at, size, longest=LONGEST_S)


def _train(data: Path, results: Path) -> int:
    from tests.runtime.runs import train

    flags = (f"--num_iter={STEPS}", "--iter_unit=batch", "--display_every=1", "--checkpoint_every=2", "--deterministic")
    return train(data, results, *flags, mode="train_and_evaluate").status


def _whole(data: Path, results: Path) -> int:
    """Makes the data, trains undisturbed, and returns the number of file operations."""
    from tests.runtime.runs import write_data

    write_data(data)
    count = 0

    def counted(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        count += _changes_a_file(event, arguments, results)

    sys.addaudithook(counted)
    status = _train(data, results)
    if status:
        raise RuntimeError(f"the training ended with status {status}")
    return count


def _changes_a_file(event: str, arguments: tuple[Any, ...], folder: Path) -> bool:
    if event == "open":
        path, _, flags = arguments
        return isinstance(path, str) and path.startswith(str(folder)) and bool(flags & _WRITES)
    return event in CHANGES


def _killed(data: Path, results: Path, at: int) -> int:
    count = 0

    def kill(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if _changes_a_file(event, arguments, results):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    return _train(data, results)


def _on_a_bad_disk(data: Path, results: Path, at: int, size: int | None) -> int:
    """Trains while file operations fail from a number on, or files cannot grow beyond a size."""
    count = 0

    def fail(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if _changes_a_file(event, arguments, results):
            count += 1
            if count >= at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if size is None:
        sys.addaudithook(fail)
    else:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return _train(data, results)


def _compared(data: Path, results: Path, whole: Path) -> list[tuple[str, str]]:
    """Resumes the training to its end, and returns faults beside the one that nobody disturbed."""
    from tests.runtime.runs import values
    from utils.checkpoints import find_checkpoint
    from utils.dllogger_utils import read_log

    status = _train(data, results)
    if status:
        return [("lost steps", f"it cannot be resumed: status {status}")]
    faults = []
    ours, theirs = (values(find_checkpoint(folder) or "") for folder in (results, whole))
    different = [name for name in theirs if name not in ours or ours[name].tobytes() != theirs[name].tobytes()]
    if different or ours.keys() != theirs.keys():
        faults.append(("silent differences", f"{len(different)} tensors of the last checkpoint differ"))
    losses = [
        {tuple(r["step"]): r["data"]["total_loss"] for r in read_log(folder / "log.json") if _is_step(r)}
        for folder in (results, whole)
    ]
    if missing := [step for step in losses[1] if step not in losses[0]]:
        faults.append(("lost steps", f"the log lacks {missing}"))
    if wrong := [step for step in losses[1] if losses[0].get(step, losses[1][step]) != losses[1][step]]:
        faults.append(("silent differences", f"the log has other losses at {wrong}"))
    if left := [path.name for path in results.rglob(".*") if path.is_file() and "tmp" in path.name]:
        faults.append(("silent differences", f"files are left behind: {left}"))
    return faults


def _is_step(record: dict[str, Any]) -> bool:
    return record["type"] == "LOG" and len(record["step"]) == 2 and "total_loss" in record["data"]
