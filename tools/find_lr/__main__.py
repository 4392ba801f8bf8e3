"""Finds a learning rate by a range test: trains with a rate that rises at every step, until the loss diverges.

Give it the flags of main.py for the planned run. It trains for some steps as main.py would, writes a chart and the
numbers, and suggests a value for --lr_init. It saves no checkpoint and reads none but that of --finetune_checkpoint.

Source: Smith, Cyclical Learning Rates for Training Neural Networks, arXiv:1506.01186.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace

from runtime.entry_point import start
from tools.command import CommandParser, run_command
from tools.find_lr.request import NUMBERS, Request
from utils.cmdline_helper import Command, add_flag, parse
from utils.errors import RunError, UsageError, require
from utils.files.writable import require_writable
from utils.flags import recipes
from utils.flags.table import BY_NAME, FLAGS, LONG_TRAINING
from utils.hooks.preemption import PreemptionHook
from utils.local_communicator import place_in

LEAST_STEPS = 20
_SCHEDULE = ("lr_init", "lr_warmup_epochs", "lr_warmup_start", "lr_final", "cosine_lr", "schedule")
_LENGTH = ("num_iter", "run_iter", "iter_unit", "warmup_steps")
_FILES = ("model_dir", "results_dir", "log_filename", "export_dir", "checkpoint_every", "keep_checkpoints")
_LAUNCH = ("mode", "dry_run", "to_predict", "display_every", "no_report", "profile", "histograms_every", "console")
_PROCESSES = ("sync_batch_norm", "fp16_compression", "stall_timeout_s")
_AFTERWARDS = ("ema_decay", "ema_every", "ema_decay_steps", "eval_weights", "eval_crop")
WITHOUT_EFFECT = {*_SCHEDULE, *_LENGTH, *_FILES, *_LAUNCH, *_PROCESSES, *_AFTERWARDS}
"""Flags of training that change no step of a range test."""


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m tools.find_lr",
        description=__doc__,
        epilog="Exit status: 0 done; 1 failed, or no rate stands out; 2 wrong usage; 75 interrupted.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--output", metavar="LR", type=Path, required=True, help="folder for the chart and the numbers")
    add("--steps", metavar="N", type=int, default=100, help="number of rates to try (default: %(default)s)")
    for name, rate, which in (("lr_low", 1e-5, "first"), ("lr_high", 100.0, "last")):
        text = f"{which} learning rate, for a global batch of 256 as --lr_init is (default: {rate:g})"
        add(f"--{name}", metavar="X", type=float, default=rate, help=text)
    group = parser.add_argument_group("flags of main.py", "Flags that are not listed have no effect here.")
    for flag in FLAGS:
        add_flag(group, replace(flag, hidden=flag.hidden or not _acts(flag.name)))
    return parser


def _acts(name: str) -> bool:
    return LONG_TRAINING[0] in BY_NAME[name].modes and name not in WITHOUT_EFFECT


def parse_arguments(arguments: Sequence[str], environ: Mapping[str, str], empty: str = ".") -> Request:
    """Reads the command line.

    Args:
        arguments: The command line as typed.
        environ: Environment variables; some stand for a flag.
        empty: A folder without a checkpoint.

    Raises:
        UsageError: Flags are out of range or contradict each other.
    """
    given = vars(make_parser().parse_args(recipes.expand(arguments)))
    output, steps, lowest, highest = (given.pop(name) for name in ("output", "steps", "lr_low", "lr_high"))
    require(steps >= LEAST_STEPS, "steps", steps, f"at least {LEAST_STEPS}")
    require(math.isfinite(lowest) and lowest > 0, "lr_low", f"{lowest:g}", "a number above 0")
    above = f"a number above --lr_low, {lowest:g}"
    require(math.isfinite(highest) and highest > lowest, "lr_high", f"{highest:g}", above)
    unused = [f"--{name}" for name in given if not _acts(name)]
    given = {name: value for name, value in given.items() if _acts(name)}
    words = [f"--{name}" if BY_NAME[name].is_switch else f"--{name}={value}" for name, value in given.items()]
    command = parse([*words, f"--mode={LONG_TRAINING[0]}", f"--results_dir={empty}"], environ)
    notes = (*command.notes, *([f"no effect here: {', '.join(unused)}"] if unused else []))
    return Request(command=replace(command, notes=notes), output=output, steps=steps, lowest=lowest, highest=highest)


def check_output(output: Path) -> None:
    """Refuses a folder that holds other things, such as a run, or that cannot be written.

    Raises:
        UsageError: It is a file, or not empty and not the folder of an earlier test.
        RunError: It cannot be written.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output}: is a file; must be a folder")
    if output.is_dir() and not (output / NUMBERS).is_file() and any(output.iterdir()):
        raise UsageError(f"--output {output}: is not empty and holds no range test; name another folder")
    try:
        require_writable(output)
    except OSError as error:
        raise RunError(f"--output {output}: cannot be written ({error.strerror})") from error


def run(arguments: Sequence[str]) -> int:
    """Runs the test and returns the exit status.

    Raises:
        UsageError: The flags make no sense, or the output is the folder of something else.
        RunError: The output cannot be written.
    """
    with tempfile.TemporaryDirectory() as empty:
        request = parse_arguments(arguments, os.environ, empty)
        check_output(request.output)
        place = place_in(os.environ)
        if place is not None and place.size > 1:
            raise UsageError(f"{place.size} processes: a range test runs in one; --lr_init suits any number of them")

        def work(_: Command, stop: PreemptionHook) -> int:
            from tools.find_lr.range_test import test_range  # imports TensorFlow

            return run_command(lambda: test_range(request, stop))

        return start(request.command, work)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(lambda: run(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())
