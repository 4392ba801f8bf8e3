"""Prints the average training speed of a run's last steps from its log, in the format of SSD320's benchmark scripts.

Run as ``python examples/benchmark_speed.py LOG --gpus N --precision mixed``. The average covers the last 300 steps, or
the last quarter of a run of fewer than 1,200 steps: images over elapsed time, not a mean of rates. Imports no
TensorFlow.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.program import begin

    begin()

from utils.dllogger_utils import read_log
from utils.errors import EXIT_DONE, EXIT_FAILED, RunError, reason

STEPS = 300
KEY = "imgs_per_sec"


def average_speed(records: Sequence[Mapping[str, Any]]) -> float:
    """Computes the average speed over a run's last steps, in images/s.

    Each record holds the speed since the record before it, so the time of an interval is its steps over its speed.

    Args:
        records: Records of a log. Those of an (epoch, step) with a speed count.

    Raises:
        RunError: The log has no speed of those steps.
    """
    speeds = [(record["step"][-1], record["data"][KEY]) for record in records if _tells_speed(record)]
    steps = [0, *(step for step, _ in speeds)]
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise RunError("holds more than one run: its steps do not ascend")
    begin = steps[-1] - min(STEPS, steps[-1] // 4)
    counted = [(step - last, speed) for last, (step, speed) in zip(steps, speeds, strict=False) if last >= begin]
    if not counted:
        raise RunError(f"has no {KEY} of the last steps; the run was too short or ended early")
    for _, speed in counted:
        if not isinstance(speed, int | float) or not math.isfinite(speed) or speed <= 0:
            raise RunError(f"{KEY} {speed}: must be a positive number")
    return sum(count for count, _ in counted) / sum(count / speed for count, speed in counted)


def _tells_speed(record: Mapping[str, Any]) -> bool:
    step = record.get("step")
    return isinstance(step, list) and len(step) == 2 and KEY in record.get("data", {})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(prog="python examples/benchmark_speed.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("log", metavar="LOG", type=Path, help="the run's JSON log")
    parser.add_argument("--gpus", type=int, required=True, help="number of GPUs that it ran on")
    parser.add_argument(
        "--precision",
        help="precision that it computed in, for the printed line",
        choices=("mixed", "single"),
        required=True,
    )
    options = parser.parse_args(arguments)
    try:
        speed = average_speed(read_log(options.log))
    except (OSError, RunError) as error:
        why = error.strerror if isinstance(error, OSError) else reason(error)
        print(f"benchmark_speed.py: error: {options.log}: {why}", file=sys.stderr)
        return EXIT_FAILED
    gpus = "Single GPU" if options.gpus == 1 else f"{options.gpus} GPUs"
    print(f"{gpus} {options.precision} precision training performance: {speed:.2f} img/s")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
