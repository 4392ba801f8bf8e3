"""Measures the input pipeline alone, from record to batch, and says whether it or the network is the bottleneck.

For each split it prints the images per second of tf.data, of reading and decoding alone and, with --auto_augment (for
training), --scaled_decoding or --dali, of tf.data with that flag or of DALI.
--arch adds the speed of the network alone, taken from a short run of main.py on synthetic images or from
--network_speed.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import dataclasses
import os
import subprocess
import tempfile
from functools import partial
from typing import Any

from runtime.classification.resolve_classifier import DEFAULT_ARCHITECTURE
from runtime.classification.resolve_classifier import DEFAULT_IMAGE_SIZE as CLASSIFIER_SIZE
from runtime.detection.resolve_detector import DEFAULT_IMAGE_SIZE as DETECTOR_SIZE
from runtime.tensorflow_import import load_tensorflow
from tools.command import CommandParser, run_command
from utils.augment_config import POLICIES
from utils.config import ARCHITECTURES, DETECTORS
from utils.dllogger_utils import read_log
from utils.errors import EXIT_DONE, RunError, UsageError, require
from utils.image_sizes import size_of_text
from utils.text import percent

ROOT = Path(__file__).resolve().parent.parent
MODES = {"train": "training_benchmark", "validation": "inference_benchmark"}
SPEED_KEYS = {"train": "network_throughput", "validation": "eval_throughput"}
NETWORK_STEPS, NETWORK_WARMUP_STEPS = 12, 4


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(prog="python -m tools.benchmark_input", description=__doc__)
    parser.add_argument(
        "--data_dir", metavar="RECORDS", required=True, help="folder of TFRecords, for classification or detection"
    )
    parser.add_argument(
        "--split", choices=(*MODES, "both"), default="both", help="split to measure (default: %(default)s)"
    )
    parser.add_argument(
        "--image_size",
        type=partial(size_of_text, "image_size"),
        metavar="N",
        help="size in pixels; for ssd320 also HEIGHTxWIDTH (default: 224; ssd320: 320)",
    )
    parser.add_argument("--batch_size", type=int, default=32, help="images in a batch (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=50, help="batches to measure (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="decoding threads (default: one per CPU)")
    parser.add_argument(
        "--auto_augment", choices=POLICIES[1:], help="measure tf.data's training input with this policy too"
    )
    parser.add_argument("--scaled_decoding", action="store_true", help="measure tf.data with this flag of main.py too")
    parser.add_argument("--dali", action="store_true", help="measure DALI too")
    parser.add_argument(
        "--data_idx_dir", metavar="PATH", help="folder of DALI's index files (default: created if missing)"
    )
    parser.add_argument(
        "--arch",
        metavar="NAME",
        choices=ARCHITECTURES,
        help=f"network to compare with: {', '.join(ARCHITECTURES)}; for ssd320 the input includes objects",
    )
    parser.add_argument("--network_speed", type=float, help="images/s of that network (default: measured)")
    parser.add_argument("--amp", action="store_true", help="measure that network in mixed precision")
    parser.add_argument("--cpu", action="store_true", help="use no GPU")
    return parser


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line.

    Raises:
        UsageError: A number is out of range, or a flag lacks another that it needs.
    """
    flags = make_parser().parse_args(arguments)
    if flags.image_size is None:
        flags.image_size = DETECTOR_SIZE if flags.arch in DETECTORS else CLASSIFIER_SIZE
    require(flags.batches > 0, "batches", flags.batches, "a positive integer")
    require(flags.threads is None or flags.threads > 0, "threads", flags.threads, "a positive integer")
    speed = flags.network_speed
    if speed is not None:
        require(speed > 0, "network_speed", speed, "a positive number of images/s")
        if flags.split == "both":
            raise UsageError(f"--network_speed {speed:g}: describes one split; add --split=train or --split=validation")
    for name, given in (("network_speed", speed is not None), ("amp", flags.amp)):
        if given and flags.arch is None:
            raise UsageError(f"--{name}: describes a network; name it with --arch")
    if flags.amp and speed is not None:
        raise UsageError("--amp: applies to the measured network, but --network_speed replaces its measurement")
    if flags.auto_augment and (flags.split == "validation" or flags.arch in DETECTORS):
        raise UsageError(f"--auto_augment {flags.auto_augment}: only used for training images of classifiers")
    if flags.data_idx_dir and not flags.dali:
        raise UsageError(f"--data_idx_dir {flags.data_idx_dir}: only used with --dali")
    return flags


def run(flags: argparse.Namespace) -> int:
    """Measures, prints each result as soon as it is known, and returns the exit status."""
    for split in MODES if flags.split == "both" else (flags.split,):
        best = _measure_input(flags, split)
        if flags.arch:
            speed = flags.network_speed or network_speed(flags, split)
            print(f"{split}: {verdict(flags.arch, speed, best)}", flush=True)
    return EXIT_DONE


def verdict(architecture: str, network: float, data: float) -> str:
    """Says whether the network or its input is the bottleneck, by their speeds in images/s."""
    limit = "the input is the limit" if data < network else "the network is the limit"
    share = f"{data / network:.2f} times as many"
    return f"{architecture} by itself {network:.1f} images/s, its input {data:.1f}, {share}: {limit}"


def _measure_input(flags: argparse.Namespace, split: str) -> float:
    """Prints the input speeds of a split; returns the last one that is asked for, else that of tf.data."""
    load_tensorflow()  # here, so that --help and usage errors answer at once
    from tools.measure.input_speed import decoding_speed, input_speed
    from utils.input.batching import Position, Shard

    def measure(*more: str) -> tuple[Any, float]:
        setup = _setup(flags, split, *more)
        data = setup.task.data
        return setup, input_speed(lambda: data.input(split, Shard(), Position()), flags.batch_size, flags.batches)

    setup, speed = measure()
    print(f"{split}: tf.data {speed:.0f} images/s", flush=True)
    cropping = split == "train" and flags.arch not in DETECTORS
    decoding = decoding_speed(setup.splits[split], setup.task.data.input_options(), flags.batches, cropping=cropping)
    share = percent(min(1.0, speed / decoding))
    print(f"{split}: reading and decoding alone {decoding:.0f} images/s, {share} of tf.data's time", flush=True)
    more = [f"--auto_augment={flags.auto_augment}"] if flags.auto_augment and split == "train" else []
    full = speed
    for flag in [*more, *(["--scaled_decoding"] if flags.scaled_decoding else [])]:
        _, speed = measure(flag)
        print(f"{split}: tf.data with {flag} {speed:.0f} images/s, {speed / full:.2f} times as many", flush=True)
    if flags.dali:
        index = [f"--data_idx_dir={flags.data_idx_dir}"] if flags.data_idx_dir else []
        _, speed = measure("--dali", *index)
        print(f"{split}: DALI {speed:.0f} images/s", flush=True)
    return speed


def _setup(flags: argparse.Namespace, split: str, *more: str) -> Any:
    """The setup that main.py would run on this data, in a folder without checkpoints."""
    from runtime.setup.set_up import set_up
    from utils.cmdline_helper import parse
    from utils.hvd_utils import communicator

    with tempfile.TemporaryDirectory() as empty:
        given = [*_network_flags(flags, split, empty), f"--data_dir={flags.data_dir}", "--seed=0", *more]
        config = parse(given, os.environ).config
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, threads=flags.threads))
        return set_up(config, communicator(os.environ))


def _network_flags(flags: argparse.Namespace, split: str, folder: str) -> list[str]:
    length = [f"--num_iter={NETWORK_STEPS}", f"--warmup_steps={NETWORK_WARMUP_STEPS}", "--iter_unit=batch"]
    sizes = [f"--image_size={flags.image_size}", f"--batch_size={flags.batch_size}"]
    switches = [f"--{name}" for name in ("amp", "cpu") if getattr(flags, name)]
    arch = flags.arch or DEFAULT_ARCHITECTURE
    return [f"--arch={arch}", f"--mode={MODES[split]}", f"--results_dir={folder}", *length, *sizes, *switches]


def network_speed(flags: argparse.Namespace, split: str) -> float:
    """Measures the network without its input, in images/s: runs main.py's benchmark on synthetic images.

    Raises:
        RunError: The benchmark failed; the message gives its exit status and last line.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "main.py"), *_network_flags(flags, split, folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != EXIT_DONE:
            ending = (done.stderr.strip().splitlines() or ["no error message"])[-1]
            raise RunError(f"--arch {flags.arch}: its benchmark ended with status {done.returncode}: {ending}")
        return float(read_log(Path(folder) / "log.json")[-1]["data"][SPEED_KEYS[split]])


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(lambda: run(parse_arguments(arguments)))


if __name__ == "__main__":
    sys.exit(main())
