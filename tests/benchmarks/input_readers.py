"""Training input of tf.data beside DALI's CPU pipelines and torchvision's DataLoader, on the same records.

    ORACLE_PYTHON=.venv-oracle/bin/python \\
        .venv/bin/python -m tests.benchmarks.input_readers --data_dir RECORDS [--without_torch]

All make batches of 32 normalized float32 images of 224 pixels: a random crop of 8 to 100 % of the area at an aspect of
3/4 to 4/3, decoded, mirrored half of the time and resized bilinearly. They run on two threads or two worker processes
and take turns in rounds; each is a process of its own that waits during the turns of the others.

- tf.data: this project's input, plus normalization.
- DALI: its own reader, random crop and normalization, as its documentation shows for ResNet-50, on index files.
- --dali: this project's use of DALI, plus normalization in TensorFlow.
- torchvision: RandomResizedCrop, RandomHorizontalFlip and Normalize on Pillow images, DataLoader with two workers.

The environment of torchvision needs torch==2.14.1 and torchvision==0.29.1.
"""

import os
import sys

from tests.benchmarks.common import json_line, load_at_start, parser, table
from tests.benchmarks.pairs import Worker, add_arguments


def main():
    arguments = parser(__doc__)
    arguments.set_defaults(batch_size=32, image_size=224)
    arguments.add_argument("--data_dir", required=True)
    arguments.add_argument("--without_torch", action="store_true")
    add_arguments(arguments)
    arguments.set_defaults(steps=40)
    options = arguments.parse_args()
    load = load_at_start()
    workers = {}
    sizes = [
        f"--data_dir={options.data_dir}",
        f"--batch_size={options.batch_size}",
        f"--image_size={options.image_size}",
    ]
    for name in ("tf.data", "DALI", "--dali"):
        flags = [f"--reader={name}", *sizes]
        workers[name] = Worker(sys.executable, "tests.benchmarks.input_worker", flags)
    if not options.without_torch:
        oracle = os.environ.get("ORACLE_PYTHON")
        if not oracle:
            raise SystemExit("ORACLE_PYTHON: must name an interpreter with torch and torchvision, or --without_torch")
        workers["torchvision"] = Worker(oracle, "tests.benchmarks.torch_input_worker", sizes)
    images = options.batch_size * options.steps
    speeds = {name: [] for name in workers}
    for _ in range(options.rounds):
        for name, worker in workers.items():
            speeds[name].append(images / worker.run(options.steps))
    for worker in workers.values():
        worker.close()
    report(speeds, load, options)


def report(speeds, load, options):
    """Prints the speeds, and the ratios of tf.data's to the others."""
    ours = speeds["tf.data"]
    ratios = {
        f"tf.data / {name}": [our / their for our, their in zip(ours, theirs, strict=True)]
        for name, theirs in speeds.items()
        if theirs is not ours
    }
    print(
        f"batch {options.batch_size}, {options.image_size} pixels, {options.rounds} rounds of {options.steps} batches"
    )
    table({f"{name}, images/s": values for name, values in speeds.items()})
    table(ratios)
    json_line(benchmark="input_readers", load_at_start=load, **speeds, **ratios)


if __name__ == "__main__":
    main()
