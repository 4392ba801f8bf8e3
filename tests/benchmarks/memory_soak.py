"""Measures the memory growth of a training run.

    .venv/bin/python -m tests.benchmarks.memory_soak --steps 500 [--arch resnet50] [--data_dir RECORDS]

Makes and converts small images, and starts ``main.py --mode=train`` on them in a separate process: epochs of 16 steps,
a checkpoint every 100 steps, TensorBoard scalars and log records every 50. Reads the resident memory of the process at
each of these records, and prints the first and the last figure after a warm-up of 100 steps.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from tests.benchmarks.common import json_line

EVERY = 50
WARMUP = 100
IMAGES = {"train": 64, "validation": 8}
SIDE = 48
MEGABYTE = 2**20


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--arch", default="resnet50")
    arguments.add_argument("--steps", type=int, default=500)
    arguments.add_argument("--data_dir", help="records to train on instead, at --image_size")
    arguments.add_argument("--image_size", type=int, default=32)
    options = arguments.parse_args()
    if options.steps < WARMUP + 2 * EVERY:
        raise SystemExit(f"--steps {options.steps}: must be at least {WARMUP + 2 * EVERY}, {WARMUP} of them a warm-up")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.data_dir:
            make_images(folder / "images")
            convert = [sys.executable, "-m", "tools.convert", folder / "images", folder / "records"]
            subprocess.run(convert, check=True, stdout=subprocess.DEVNULL)
        samples = train(folder, options)
    settled = {step: resident for step, resident in samples.items() if step >= WARMUP}
    first, last = min(settled), max(settled)
    growth = settled[last] - settled[first]
    print(
        f"{options.arch}: {settled[first]:.1f} MB at step {first}, {settled[last]:.1f} MB at step {last}, "
        f"{growth:+.1f} MB, {100 * growth / settled[first]:+.2f} %"
    )
    json_line(
        benchmark="memory_soak",
        arch=options.arch,
        first_step=first,
        last_step=last,
        first_mb=settled[first],
        last_mb=settled[last],
        highest_mb=max(settled.values()),
    )


def make_images(folder):
    """Writes images of noise in two classes."""
    generator = random.Random(0)
    for split, count in IMAGES.items():
        for index in range(count):
            path = folder / split / f"class_{index % 2}" / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.frombytes("RGB", (SIDE, SIDE), generator.randbytes(3 * SIDE * SIDE)).save(path)


def train(folder, options):
    """Runs main.py; returns its resident memory in MB by step."""
    flags = ["--batch_size=4", f"--image_size={options.image_size}"]
    flags += ["--iter_unit=batch", f"--num_iter={options.steps}"]
    flags += [f"--display_every={EVERY}", "--checkpoint_every=100", f"--arch={options.arch}", "--mode=train"]
    where = [f"--data_dir={options.data_dir or folder / 'records'}", f"--results_dir={folder / 'run'}"]
    process = subprocess.Popen([sys.executable, "main.py", *flags, *where], stdout=subprocess.DEVNULL)
    try:
        samples = watch(process, folder / "run" / "log.json")
    finally:
        process.kill()  # in case of an interruption; otherwise it has ended
        process.wait()
    if process.returncode:
        raise SystemExit(f"main.py ended with status {process.returncode}")
    return samples


def watch(process, log):
    """Samples resident memory in MB by step until the process ends."""
    samples = {}
    while process.poll() is None:
        time.sleep(0.02)
        step = last_step(log)
        resident = resident_megabytes(process.pid)
        if step > max(samples, default=0) and resident:
            samples[step] = resident
            print(f"step {step:5}: {resident:8.1f} MB", flush=True)
    return samples


def last_step(path):
    """The step of the last periodic record of a log, or 0."""
    steps = [0]
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.endswith("}"):  # whole
            step = json.loads(line.partition(" ")[2]).get("step")
            if isinstance(step, list) and len(step) == 2 and step[1] % EVERY == 0:
                steps.append(step[1])
    return max(steps)


def resident_megabytes(pid):
    """VmRSS of a process; 0 if it has just ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / MEGABYTE
    return 0.0


if __name__ == "__main__":
    main()
