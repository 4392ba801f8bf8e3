"""Shared parts of the benchmarks: the project's own configuration on two CPU threads, and the report.

Nothing here imports TensorFlow before its environment variables are set.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile

THREADS = 2
BUSY = 0.5
"""One-minute load average above which a machine is not idle."""


def parser(description):
    """A parser of the options that the speed benchmarks share."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--arch", default="resnet50")
    result.add_argument("--batch_size", type=int, default=16)
    result.add_argument("--image_size", type=int, default=224)
    result.add_argument("--amp", action="store_true", help="mixed precision, as in main.py")
    result.add_argument("--xla", action="store_true", help="compile our graph, as in main.py")
    return result


def load_at_start():
    """Returns the machine's load, and warns if it is too high: PyTorch's threads wait for one another."""
    load = os.getloadavg()[0]
    if load > BUSY:
        print(f"warning: load {load:.1f} before the start: other programs distort the measurement", file=sys.stderr)
    return load


def set_up_as_main_does(mode, options):
    """The ``Setup`` of ``main.py --cpu --mode=<mode>`` with these options, on synthetic data and two threads."""
    from runtime.environment import environment_for
    from utils.cmdline_helper import parse
    from utils.hvd_utils import communicator

    switches = [flag for flag, given in (("--amp", options.amp), ("--xla", options.xla)) if given]
    sizes = [f"--batch_size={options.batch_size}", f"--image_size={options.image_size}"]
    length = ["--iter_unit=batch", "--num_iter=1000000", "--warmup_steps=1"]
    with tempfile.TemporaryDirectory() as empty:  # holds no checkpoint
        flags = [f"--arch={options.arch}", f"--mode={mode}", "--cpu", *sizes, *length, *switches]
        command = parse([*flags, f"--results_dir={empty}"], os.environ)
        os.environ.update(environment_for(command.config, os.environ))
        from runtime.setup.set_up import set_up

        setup = set_up(command.config, communicator(os.environ))
    setup.session_config.intra_op_parallelism_threads = THREADS
    setup.session_config.inter_op_parallelism_threads = THREADS
    return setup


def table(rows, *, decimals=2):
    """Prints a row per name, with the median and the range of its figures."""
    width = max(len(name) for name in rows)
    print(f"{'':{width}}  {'median':>9}  {'lowest':>9}  {'highest':>9}")
    for name, values in rows.items():
        figures = (statistics.median(values), min(values), max(values))
        print(f"{name:{width}}  " + "  ".join(f"{figure:9.{decimals}f}" for figure in figures))


def json_line(**record):
    """Prints a record as one line of JSON, with the medians of lists."""
    print(json.dumps({key: statistics.median(v) if isinstance(v, list) else v for key, v in record.items()}))
