"""Two processes of one thread each against one process of two threads, at the same global batch.

    .venv/bin/python -m tests.benchmarks.two_processes --batch_size=16 [--arch resnet50] [--amp] [--rounds 3]

Runs ``main.py --mode=training_benchmark`` on synthetic images both ways in turn, bound to two processors. Prints the
training speeds, their ratio in each round, and the time of each launch outside the measured steps.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.common import THREADS, json_line, load_at_start, parser, table
from tests.conftest import ROOT
from utils.dllogger_utils import read_log

STEPS, WARMUP = 30, 5


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--launcher", choices=("mpiexec", "launch"), default="mpiexec", help="Horovod's or our own")
    options = arguments.parse_args()
    if options.batch_size % 2:
        raise SystemExit(f"--batch_size {options.batch_size}: must be even: two processes share the global batch")
    load = load_at_start()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    speeds, starts = {1: [], 2: []}, {1: [], 2: []}
    for _ in range(options.rounds):
        for size in (1, 2):
            speed, start = launch(size, options)
            speeds[size].append(speed)
            starts[size].append(start)
    ratios = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
    more = [two / one for one, two in zip(starts[1], starts[2], strict=True)]
    table(
        {
            "one process, images/s": speeds[1],
            "two processes, images/s": speeds[2],
            "ratio": ratios,
            "one process, other seconds": starts[1],
            "two processes, other seconds": starts[2],
            "ratio of those": more,
        }
    )
    facts = {
        "launcher": options.launcher,
        "arch": options.arch,
        "amp": options.amp,
        "global_batch": options.batch_size,
        "load": load,
    }
    json_line(benchmark="two_processes", **facts, ratio=ratios, start_ratio=more)


def launch(size, options):
    """The training speed of a launch in images/s, and its seconds outside the measured steps."""
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "main.py", f"--arch={options.arch}", "--mode=training_benchmark", "--cpu"]
        flags = [
            f"--batch_size={options.batch_size // size}",
            f"--image_size={options.image_size}",
            "--iter_unit=batch",
        ]
        flags += [f"--num_iter={STEPS}", f"--warmup_steps={WARMUP}", f"--results_dir={folder}", "--log_level=error"]
        flags += [flag for flag, given in (("--amp", options.amp), ("--xla", options.xla)) if given]
        mpiexec = [Path(sys.executable).parent / "mpiexec", "--allow-run-as-root", "--oversubscribe"]
        launchers = {"mpiexec": [*mpiexec, "--bind-to", "none"], "launch": [sys.executable, "-m", "tools.launch"]}
        several = [*launchers[options.launcher], "-np", str(size)] if size > 1 else []
        began = time.monotonic()
        subprocess.run([*several, *program, *flags], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        speed = read_log(Path(folder) / "log.json")[-1]["data"]["train_throughput"]
    return speed, seconds - (STEPS - WARMUP) * options.batch_size / speed


if __name__ == "__main__":
    main()
