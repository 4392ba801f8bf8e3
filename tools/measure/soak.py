"""Watches a long run that trains and evaluates in turn, and says whether its memory, descriptors and threads stay flat.

Without --data_dir among the flags for main.py, the run trains resnet18 on small images of noise. At the end of the
time the run gets SIGTERM, as from a scheduler, and must save its state and end with status 75.

After a warm-up, the time is divided into equal spans. The run is flat if its memory in the last third of the spans is
at most 2 % above that in the first third, and it has no more descriptors and threads there than before.

Exit status: 0 flat, 1 not flat or the run failed. Imports no TensorFlow.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.command import CommandParser, run_command
from utils.dllogger_utils import read_log
from utils.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, RunError, require

ROOT = Path(__file__).resolve().parents[2]
SPANS = 9
WARMUP_SHARE, WARMUP_EVALUATIONS = 0.2, 2
MEMORY_GROWTH = 0.02
"""The allocator's own growth in hours; a leak of 10 kB a step exceeds it within a few thousand steps."""
TRANSIENT = 2
"""Threads or files that a sample may meet while they come and go; a leak in each evaluation exceeds this soon."""
SECONDS_BETWEEN_SAMPLES = 0.5
SECONDS_TO_END = 120
_IMAGES = {"train": 64, "validation": 32}
_SIDE = 48
_FLAGS = ("--arch=resnet18", "--image_size=32", "--batch_size=8", "--eval_every_epochs=4", "--display_every=20")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The resources of a process at a time in seconds since the epoch."""

    time: float
    megabytes: float
    descriptors: int
    threads: int


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(prog="python -m tools.measure.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the run (default: %(default)g)")
    parser.add_argument("flags", metavar="FLAG", nargs="*", help="further flags for main.py, after --")
    return parser


def run(options: argparse.Namespace) -> int:
    """Runs the soak, prints a row for each span and the verdict, and returns the exit status.

    Raises:
        UsageError: The time is not positive.
        RunError: The run failed, did not stop, or evaluated too rarely for a verdict.
    """
    require(options.minutes > 0, "minutes", options.minutes, "a positive number")
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        if not any(flag.startswith("--data_dir") for flag in options.flags):
            _make_data(folder)
        samples = _watch(_command(folder, options.flags), folder / "stderr", options.minutes * 60)
        evaluations = _evaluations(folder / "run" / "log.json")
    rows = spans(samples, evaluations)
    print(f"{'minutes':>9}  {'MB':>8}  {'descriptors':>11}  {'threads':>7}")
    for row in rows:
        minutes = (row.time - samples[0].time) / 60
        print(f"{minutes:9.1f}  {row.megabytes:8.1f}  {row.descriptors:11}  {row.threads:7}")
    growth = growth_of(rows)
    print(f"{len(evaluations)} evaluations in {options.minutes:g} minutes: {'; '.join(growth) or 'flat'}")
    return EXIT_FAILED if growth else EXIT_DONE


def spans(samples: Sequence[Sample], evaluations: Sequence[float]) -> list[Sample]:
    """The peaks of equal spans of the time after the warm-up, each with the time of the span's end.

    Args:
        samples: The samples of a run.
        evaluations: The times at which an evaluation ended.

    Raises:
        RunError: There are too few evaluations to compare spans.
    """
    if len(evaluations) < WARMUP_EVALUATIONS + SPANS // 3:
        raise RunError(f"--minutes: only {len(evaluations)} evaluations ended in the time; make it longer")
    first, last = samples[0].time, samples[-1].time
    begin = max(first + WARMUP_SHARE * (last - first), evaluations[WARMUP_EVALUATIONS - 1])
    length = (last - begin) / SPANS
    parts: list[list[Sample]] = [[] for _ in range(SPANS)]
    for sample in samples:
        if sample.time >= begin:
            parts[min(SPANS - 1, int((sample.time - begin) / length))].append(sample)
    return [
        Sample(
            time=part[-1].time,
            megabytes=max(sample.megabytes for sample in part),
            descriptors=max(sample.descriptors for sample in part),
            threads=max(sample.threads for sample in part),
        )
        for part in parts
        if part
    ]


def growth_of(rows: Sequence[Sample]) -> list[str]:
    """A sentence for each resource that the last third of the spans uses more of than the first."""
    third = len(rows) // 3
    early, late = rows[:third], rows[-third:]
    before, after = (statistics.median(row.megabytes for row in part) for part in (early, late))
    found = []
    if after > before * (1 + MEMORY_GROWTH):
        found.append(f"memory grew from {before:.1f} to {after:.1f} MB")
    for name in ("descriptors", "threads"):
        fewer, more = (max(getattr(row, name) for row in part) for part in (early, late))
        if more > fewer + TRANSIENT:
            found.append(f"{name} grew from {fewer} to {more}")
    return found


def _evaluations(log: Path) -> list[float]:
    """The times of the evaluations in a log, without the summary, which repeats the last one."""
    records = read_log(log) if log.is_file() else []
    return [float(one["timestamp"]) for one in records if one.get("step") and "eval_throughput" in one["data"]]


def _make_data(folder: Path) -> None:
    """Writes images of noise in two classes and converts them."""
    from PIL import Image

    generator = random.Random(0)
    for split, count in _IMAGES.items():
        for number in range(count):
            path = folder / "images" / split / f"class_{number % 2}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.frombytes("RGB", (_SIDE, _SIDE), generator.randbytes(3 * _SIDE * _SIDE)).save(path)
    convert = [sys.executable, "-m", "tools.convert", str(folder / "images"), str(folder / "records")]
    subprocess.run(convert, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _command(folder: Path, flags: Sequence[str]) -> list[str]:
    own = [f"--data_dir={folder / 'records'}", f"--results_dir={folder / 'run'}", "--num_iter=1000000", *_FLAGS]
    return [sys.executable, "main.py", "--mode=train_and_evaluate", *own, *flags]


def _watch(command: Sequence[str], errors: Path, seconds: float) -> list[Sample]:
    """Runs a command for a time, then asks it to stop; returns its samples.

    Raises:
        RunError: The command ended early, did not stop, or stopped with another status than 75.
    """
    with errors.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        samples = list(_samples(process, time.monotonic() + seconds))
        process.terminate()
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired as error:
        raise RunError(f"main.py did not end within {SECONDS_TO_END} s of SIGTERM") from error
    finally:
        process.kill()  # after an interruption; otherwise it has ended
        process.wait()
    if process.returncode != EXIT_PREEMPTED:
        ending = (errors.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no error message"])[-1]
        raise RunError(f"main.py ended with status {process.returncode}: {ending}")
    return samples


def _samples(process: subprocess.Popen[bytes], deadline: float) -> Iterator[Sample]:
    """Samples a process until the deadline or its end."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None and time.monotonic() < deadline:
        fields = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        if "VmRSS" in fields:  # not while a process ends
            yield Sample(
                time=time.time(),
                megabytes=int(fields["VmRSS"].split()[0]) / 1024,
                descriptors=len(list(status.with_name("fd").iterdir())),
                threads=int(fields["Threads"]),
            )
        time.sleep(SECONDS_BETWEEN_SAMPLES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
