"""Training speed of our network beside timm's in PyTorch.

    ORACLE_PYTHON=.venv-oracle/bin/python \\
        .venv/bin/python -m tests.benchmarks.against_timm --arch resnet50 --batch_size 16 [--amp] [--xla]

Ours is the training step of ``main.py --mode=training_benchmark``; timm's is written in ``timm_worker.py``: the same
batch and image size, NHWC memory (channels_last), momentum and weight decay, with --amp bfloat16 autocast. Each side is
a process of two threads that stays alive and idle while the other one works; they take turns, A B A B, and each pair of
rounds gives one ratio. The median of the pairs counts, above 1 where ours is faster. requirements-oracle.txt tells how
to make the environment that ORACLE_PYTHON names.
"""

import json
import os
import subprocess
import sys

from tests.benchmarks.common import THREADS, json_line, load_at_start, parser, table


class Worker:
    """A process that trains so many steps when it is told to."""

    def __init__(self, interpreter, module, flags):
        self._process = subprocess.Popen(
            [interpreter, "-m", module, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(THREADS)},
        )
        self.facts = self._answer()

    def train(self, steps):
        """Trains; returns the seconds that it took."""
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


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--steps", type=int, default=3, help="batches a round")
    options = arguments.parse_args()
    load = load_at_start()
    oracle = os.environ.get("ORACLE_PYTHON")
    if not oracle:
        raise SystemExit("ORACLE_PYTHON: must name an interpreter with torch and timm; see requirements-oracle.txt")
    flags = [f"--arch={options.arch}", f"--batch_size={options.batch_size}", f"--image_size={options.image_size}"]
    flags += ["--amp"] if options.amp else []
    xla = ["--xla"] if options.xla else []
    ours = Worker(sys.executable, "tests.benchmarks.our_worker", [*flags, *xla])
    timms = Worker(oracle, "tests.benchmarks.timm_worker", flags)
    images = options.batch_size * options.steps
    our_speeds, timm_speeds = [], []
    for _ in range(options.rounds):
        our_speeds.append(images / ours.train(options.steps))
        timm_speeds.append(images / timms.train(options.steps))
    ours.close()
    timms.close()
    ratios = [ours / theirs for ours, theirs in zip(our_speeds, timm_speeds, strict=True)]
    print(f"{options.arch}, batch {options.batch_size}, {THREADS} threads, {options.rounds} pairs of rounds")
    ours_name = f"ours, {ours.facts['precision']}{', XLA' if options.xla else ''}, images/s"
    table({ours_name: our_speeds, f"timm, {timms.facts['precision']}, images/s": timm_speeds, "ratio": ratios})
    json_line(
        benchmark="against_timm",
        arch=options.arch,
        batch_size=options.batch_size,
        load_at_start=load,
        xla=options.xla,
        ours=ours.facts,
        timm=timms.facts,
        our_images_per_second=our_speeds,
        timm_images_per_second=timm_speeds,
        ratio=ratios,
    )


if __name__ == "__main__":
    main()
