"""Measures two programs side by side: each is a process that works on request, while the other one idles."""

import json
import os
import subprocess
import sys

from tests.benchmarks.common import THREADS, json_line, load_at_start, table


class Worker:
    """A process that runs a number of steps on request."""

    def __init__(self, interpreter, module, flags):
        self._process = subprocess.Popen(
            [interpreter, "-m", module, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(THREADS)},
        )
        self.facts = self._answer()

    def run(self, steps):
        """Runs the steps and returns their time in seconds."""
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return self._answer()["seconds"]

    def close(self):
        self._process.stdin.close()
        self._process.wait()

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"{self._process.args[0]} -m {self._process.args[2]} ended before it answered")


def add_arguments(arguments):
    """Adds the options for the length of a comparison."""
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--steps", type=int, default=3, help="batches per round")


def compare(options, *, name, module, our_flags=()):
    """Compares our worker with another library's in PyTorch, and prints speeds and their ratio.

    Args:
        options: The options of ``common.parser`` and ``add_arguments``.
        name: Name of the other library.
        module: Its worker, run by the interpreter that ORACLE_PYTHON names.
        our_flags: Flags for both workers in addition to those of ``common.parser``.
    """
    load = load_at_start()
    oracle = os.environ.get("ORACLE_PYTHON")
    if not oracle:
        raise SystemExit(f"ORACLE_PYTHON: must name a Python interpreter with torch and {name}")
    flags = [f"--arch={options.arch}", f"--batch_size={options.batch_size}", f"--image_size={options.image_size}"]
    flags += [*(["--amp"] if options.amp else []), *our_flags]
    xla = ["--xla"] if options.xla else []
    ours = Worker(sys.executable, "tests.benchmarks.our_worker", [*flags, *xla])
    theirs = Worker(oracle, module, flags)
    images = options.batch_size * options.steps
    our_speeds, their_speeds = [], []
    for _ in range(options.rounds):
        our_speeds.append(images / ours.run(options.steps))
        their_speeds.append(images / theirs.run(options.steps))
    ours.close()
    theirs.close()
    ratios = [our / their for our, their in zip(our_speeds, their_speeds, strict=True)]
    print(f"{options.arch}, batch {options.batch_size}, {THREADS} threads, {options.rounds} pairs of rounds")
    ours_name = f"ours, {ours.facts['precision']}{', XLA' if options.xla else ''}, images/s"
    table({ours_name: our_speeds, f"{name}, {theirs.facts['precision']}, images/s": their_speeds, "ratio": ratios})
    json_line(
        benchmark=f"against_{name}",
        arch=options.arch,
        batch_size=options.batch_size,
        flags=" ".join(our_flags),
        load_at_start=load,
        xla=options.xla,
        ours=ours.facts,
        theirs=theirs.facts,
        our_images_per_second=our_speeds,
        their_images_per_second=their_speeds,
        ratio=ratios,
    )
