"""Measures which formulation of each convolution of a network is fastest on this CPU, for trainings on this machine.

Prints the times in milliseconds and the choices, and adds these to the table in the user's cache. Training on the CPU
then uses the table, and says so. Without a table it follows built-in rules. Another processor, version of TensorFlow,
number of threads or type has a table of its own.

Ctrl-C ends the measurement early and stores what has been measured.
Exit status: 0 done, 1 the table cannot be stored, 2 wrong usage, 75 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import os
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from runtime.entry_point import start
from tools.command import CommandParser, run_command
from utils.cmdline_helper import Command, parse
from utils.config import ARCHITECTURES
from utils.convolution_table import Machine, Table, add_to_table, this_machine
from utils.errors import EXIT_DONE, EXIT_PREEMPTED, RunError, UsageError, require
from utils.hooks.preemption import PreemptionHook
from utils.image_sizes import sides_of, size_of_text
from utils.text import plural

if TYPE_CHECKING:
    from model.specs import ChosenConvolution
    from tools.measure.convolution_speed import Result

ROUNDS = 7
_WORDS = {"forward": "forward", "input_gradient": "input gradient", "filter_gradient": "filter gradient"}


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(prog="python -m tools.measure.convolutions", description=__doc__)
    add = parser.add_argument
    add("--arch", metavar="NAME", choices=ARCHITECTURES, required=True, help=f"one of {', '.join(ARCHITECTURES)}")
    add("--batch_size", type=int, required=True, help="images in a batch of one process")
    size = "size in pixels, one number or HEIGHTxWIDTH (default: as in main.py)"
    add("--image_size", type=partial(size_of_text, "image_size"), metavar="N", help=size)
    add("--amp", action="store_true", help="measure in mixed precision")
    add("--threads", type=int, help="CPUs that one process of the training has (default: those of this one)")
    add("--rounds", type=int, default=ROUNDS, help="turns of each formulation (default: %(default)s)")
    add("flags", metavar="FLAG", nargs="*", help="further flags for main.py that change the network, after --")
    return parser


def run(options: argparse.Namespace) -> int:
    """Measures, prints and stores; returns the exit status.

    Raises:
        UsageError: A number is out of range, or ``main.py`` would refuse a flag.
    """
    require(options.rounds > 0, "rounds", options.rounds, "a positive integer")
    cpus = sorted(os.sched_getaffinity(0))
    if options.threads is not None:
        require(0 < options.threads <= len(cpus), "threads", options.threads, f"1 to {len(cpus)}, the CPUs of this one")
        os.sched_setaffinity(0, cpus[: options.threads])
    command = parse(_flags(options), os.environ)
    if command.config.model.data_format != "NHWC":
        raise UsageError("--data_format NCHW: has no choice of formulations; leave it out")
    return start(command, lambda command, stop: _measure(command, options.rounds, stop))


def _flags(options: argparse.Namespace) -> list[str]:
    """The training whose network is measured, as flags of ``main.py``."""
    sizes = [
        f"--{name}={getattr(options, name)}"
        for name in ("batch_size", "image_size")
        if getattr(options, name) is not None
    ]
    length = ["--mode=training_benchmark", "--num_iter=60", "--iter_unit=batch"]
    return [f"--arch={options.arch}", *length, *sizes, "--cpu", *(["--amp"] if options.amp else []), *options.flags]


def _measure(command: Command, rounds: int, stop: PreemptionHook) -> int:
    import tensorflow as tf

    from model.layers.formulations import fault_of
    from runtime.setup.set_up import set_up_alone
    from tools.measure.convolution_speed import measure

    setup = set_up_alone(command.config)
    machine = this_machine(tf.__version__, len(os.sched_getaffinity(0)), "NHWC", setup.precision.compute_dtype.name)
    used = convolutions_of(setup)
    print(f"{plural(len(used), 'shape')} of convolutions in {machine.dtype}, {plural(machine.threads, 'thread')}")
    results: dict[str, Result] = {}
    for one in used:
        if stop.received:
            break
        results[one.key] = measure(one.key, one.rules, rounds, setup.session_config)
        print(f"[{len(results)}/{len(used)}] {one.key}; used {plural(used[one], 'time')}", flush=True)
        print(*_lines(results[one.key]), sep="\n", flush=True)
    if results:
        print(summary(results, {one.key: count for one, count in used.items()}), flush=True)
        _store(machine, results, fault_of)
    return EXIT_PREEMPTED if stop.received else EXIT_DONE


def convolutions_of(setup: Any) -> Counter[ChosenConvolution]:
    """The convolutions of a network's training graph, in its order, with the number of uses of each."""
    import tensorflow as tf

    from model.specs import CHOSEN_CONVOLUTIONS
    from utils.image_processing import CHANNELS

    with tf.Graph().as_default() as graph:
        batch, sides = setup.config.data.batch_size_per_replica, sides_of(setup.config.model.image_size)
        images = tf.compat.v1.placeholder(tf.float32, [batch, *sides, CHANNELS])
        setup.task.network.forward(setup.task.network.normalize(images), training=True)
        return Counter(graph.get_collection(CHOSEN_CONVOLUTIONS))


def _lines(result: Result) -> list[str]:
    """A line for each direction that was measured: its times, its choice and the gain over the built-in rules."""
    lines = []
    for direction, times in result.times.items():
        shown = "  ".join(f"{name} {value:.2f}" for name, value in times.items())
        chosen, usual = result.choice[direction], result.rules[direction]
        gain = f", {times[usual] / times[chosen]:.2f} times as fast as {usual}" if chosen != usual else ""
        lines.append(f"  {_WORDS[direction]:<16} {shown}  -> {chosen}{gain}")
    return lines


def summary(results: Mapping[str, Result], uses: Mapping[str, int]) -> str:
    """A sentence about the convolutions of a whole step."""
    before = sum(uses[key] * result.milliseconds(result.rules) for key, result in results.items())
    after = sum(uses[key] * result.milliseconds(result.choice) for key, result in results.items())
    share = f", {before / after:.3f} times as fast" if after else ""
    return f"convolutions of a step: {before:.1f} ms by the built-in rules, {after:.1f} ms as chosen{share}"


def _store(machine: Machine, results: Mapping[str, Result], fault_of: Any) -> None:
    """Adds the choices to the table of the machine.

    Raises:
        RunError: It cannot be written.
    """
    today = datetime.now(UTC).date().isoformat()
    choices = {key: tuple(result.choice.values()) for key, result in results.items()}
    times = {key: result.times for key, result in results.items()}
    try:
        add_to_table(machine, Table(measured=today, choices=choices, times=times), fault_of)
    except OSError as error:
        raise RunError(
            f"{error.filename or 'the table'}: cannot be written ({error.strerror}), so trainings will not use these "
            "choices; set XDG_CACHE_HOME to a folder that is writable"
        ) from error
    print(f"stored in {machine.path}, which trainings on this machine use from now on")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
