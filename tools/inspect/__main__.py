"""Shows a data set as the network sees it: sheets of pictures, charts and numbers, before any training.

Give it the flags of main.py for the planned run. The pictures come from the run's own input pipeline (tf.data, or DALI
with --dali), the learning rate from its schedule.

Exit status: 0 done; 1 failed; 2 wrong usage; 3 done, and some records have faults; 75 interrupted.
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
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from runtime.entry_point import start
from tools.command import CommandParser, run_command
from tools.validate.record_source import task_of_files
from utils.cmdline_helper import Command, add_flag, parse
from utils.config import CLASSIFIERS, DETECTORS
from utils.errors import RunError, UsageError, require
from utils.flags import recipes
from utils.flags.table import BY_NAME, FLAGS
from utils.hooks.preemption import PreemptionHook
from utils.records.manifest import read_manifest
from utils.records.record_files import split_files_by_name
from utils.records.split_files import SplitFiles, load_split

BATCH_SIZES = {"classification": 32, "detection": 8}
_DEFAULTS = {
    "arch": "the checkpoint's, else by the data: resnet50 or ssd320",
    "batch_size": "32, for detection 8, or all images if there are fewer",
    "model_dir": "none",
}
"""Defaults that differ from main.py's, in the words of ``--help``."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed command line: the run to show the input of, and the options of the display."""

    command: Command
    output: Path
    images: int | None
    processes: int


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m tools.inspect",
        description=__doc__,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("data", metavar="OUT", help="folder of TFRecords, for classification or detection")
    parser.add_argument("--output", metavar="SHEETS", type=Path, required=True, help="folder for pictures and numbers")
    parser.add_argument("--images", type=int, default=None, help="pictures on a sheet (default: 32; detection: 12)")
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="number of processes to show the learning rate for (default: %(default)s)",
    )
    group = parser.add_argument_group("flags of main.py", "Flags that are not listed have no effect here.")
    for flag in FLAGS:
        default = _DEFAULTS.get(flag.name, flag.default)
        add_flag(group, replace(flag, hidden=not flag.inspected, default=default))
    return parser


def parse_arguments(arguments: Sequence[str], environ: Mapping[str, str], empty: str) -> Request:
    """Reads the command line, and detects the task of the data.

    Args:
        arguments: The command line as typed.
        environ: Environment variables; some stand for a flag.
        empty: A folder without a checkpoint.

    Raises:
        UsageError: Flags are out of range, or contradict each other or the data.
        RunError: The data does not exist.
    """
    given = vars(make_parser().parse_args(recipes.expand(arguments)))
    data, output, images, processes = (given.pop(name) for name in ("data", "output", "images", "processes"))
    require(bool(data), "data_dir", "''", "a folder of records")
    require(images is None or images > 0, "images", images, "a positive integer")
    require(processes > 0, "processes", processes, "a positive integer")
    files, splits = _training_files(data)
    task = files.manifest.task if files.manifest else task_of_files([Path(path) for path in files.paths])
    arch = _architecture(given.get("arch"), task, data)
    given.setdefault("batch_size", max(1, min(BATCH_SIZES[task], files.examples // processes)))
    unused = [f"--{name}" for name in given if not BY_NAME[name].inspected]
    given = {name: value for name, value in given.items() if BY_NAME[name].inspected} | arch
    words = [f"--{name}" if BY_NAME[name].is_switch else f"--{name}={value}" for name, value in given.items()]
    mode = "train_and_evaluate" if "validation" in splits else "train"
    command = parse([*words, f"--mode={mode}", f"--data_dir={data}", f"--results_dir={empty}"], environ)
    notes = (*command.notes, *([f"no effect here: {', '.join(unused)}"] if unused else []))
    return Request(replace(command, notes=notes), output, images, processes)


def _training_files(data: str) -> tuple[SplitFiles, set[str]]:
    """The training records, and the names of all splits that are not empty.

    Raises:
        RunError: There are no training records.
    """
    files = load_split(data, "train")
    manifest = read_manifest(data)
    if manifest is None:
        return files, set(split_files_by_name(Path(data)))
    return files, {name for name, split in manifest.splits.items() if split.examples}


def _architecture(given: str | None, task: str, data: str) -> dict[str, str]:
    """The --arch to use: the given one, or else the default for the data's task.

    Raises:
        UsageError: The given one is for the other task.
    """
    networks = DETECTORS if task == "detection" else CLASSIFIERS
    if given is not None and given not in networks:
        raise UsageError(
            f"--arch {given}: the records in {data} are for {task}; networks for it: {', '.join(networks)}"
        )
    return {"arch": given or DETECTORS[0]} if given or task == "detection" else {}


def _inspect(request: Request, stop: PreemptionHook) -> int:
    from tools.inspect.run import InspectionOptions, inspect  # imports TensorFlow

    options = InspectionOptions(output=request.output, images=request.images, processes=request.processes)
    return inspect(request.command.config, options, stop)


def run(arguments: Sequence[str]) -> int:
    """Runs the inspection and returns the exit status."""
    with tempfile.TemporaryDirectory() as empty:
        request = _naming_out(lambda: parse_arguments(arguments, os.environ, empty))

        def work(_: Command, stop: PreemptionHook) -> int:
            return run_command(lambda: _naming_out(lambda: _inspect(request, stop)))

        return start(request.command, work)


def _naming_out(act: Callable[[], Result]) -> Result:
    """Runs ``act``, replacing main.py's ``--data_dir`` by OUT in its errors."""
    try:
        return act()
    except (UsageError, RunError) as error:
        raise type(error)(re.sub(r"--data_dir(?!\w)", "OUT", str(error))) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(lambda: run(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())
