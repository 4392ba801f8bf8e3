"""The pages of ``--help``: the modes with an example each, or the flags of one mode. Imports no TensorFlow."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from utils.config import ARCHITECTURES, MODES
from utils.errors import require
from utils.flags.help_format import HelpFormatter
from utils.flags.table import BY_NAME, FLAGS, GROUPS, Flag
from utils.suggestions import hint

ALL = "all"
"""Asks for the flags of all modes."""
NEEDED, GENERAL_TITLE, RARE = "Needed arguments", "General arguments", "Rarely needed arguments"
AddFlag = Callable[[Any, Flag, str], None]
_WIDTH = 78  # fits a terminal of 80 columns


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeHelp:
    """A mode as ``--help`` explains it.

    Attributes:
        does: One sentence.
        needs: Flags without which the mode does not run.
        example: Flags of a typical command, without ``--mode``.
    """

    does: str
    needs: tuple[str, ...]
    example: str


MODE_HELP = {
    "train": ModeHelp(
        does="Train a network and save checkpoints; the same command resumes an interrupted run.",
        needs=("data_dir", "batch_size"),
        example="--arch=resnet50 --data_dir=RECORDS --batch_size=64 --num_iter=90 --results_dir=RUN",
    ),
    "train_and_evaluate": ModeHelp(
        does="Train, evaluate regularly, and keep the best checkpoint.",
        needs=("data_dir", "batch_size"),
        example="--arch=resnet18 --data_dir=RECORDS --image_size=64 --batch_size=32 --num_iter=20 "
        "--eval_every_epochs=1 --results_dir=RUN",
    ),
    "evaluate": ModeHelp(
        does="Measure a checkpoint's accuracy on the validation split.",
        needs=("data_dir", "batch_size"),
        example="--model_dir=RUN --data_dir=RECORDS --batch_size=64 --results_dir=EVALUATION",
    ),
    "predict": ModeHelp(
        does="Predict the classes of images or the objects in them.",
        needs=("to_predict",),
        example="--model_dir=RUN --to_predict=IMAGES --results_dir=PREDICTIONS",
    ),
    "training_benchmark": ModeHelp(
        does="Measure the speed of training; without --data_dir, on synthetic images.",
        needs=("batch_size",),
        example="--arch=resnet50 --batch_size=32 --iter_unit=batch --num_iter=100 --results_dir=BENCHMARK",
    ),
    "inference_benchmark": ModeHelp(
        does="Measure the speed of inference; without --data_dir, on synthetic images.",
        needs=("batch_size",),
        example="--arch=resnet50 --batch_size=1 --iter_unit=batch --num_iter=100 --results_dir=BENCHMARK",
    ),
}

OVERVIEW = """\
usage: python main.py --mode=MODE [FLAG ...]

Trains, evaluates, runs and times networks that classify images or, with
--arch=ssd320, detect objects in them. It has six modes:

{modes}
RECORDS is a folder of TFRecords. This command makes it from class folders:
      python -m tools.convert IMAGES RECORDS

More help:
  python main.py --help MODE   the flags of one mode
  python main.py --help all    the flags of all modes
  python -m tools              the tools: convert data, export networks, ...
  COMMAND --dry_run            the plan of a command, without running it
"""
EPILOG = """\
@FILE in place of a flag reads flags from a recipe, one a line; later flags
win. Flags may be shortened as long as they stay unambiguous. --dry_run prints
the plan of a run and writes nothing.
"""


def overview() -> str:
    """The page of the modes."""
    return OVERVIEW.format(modes="\n".join(f"{_purpose(mode)}\n{_example(mode)}" for mode in MODES))


def _purpose(mode: str) -> str:
    """A mode and its sentence."""
    return textwrap.fill(f"{mode}: {MODE_HELP[mode].does}", _WIDTH, initial_indent="  ", subsequent_indent=" " * 6)


def _example(mode: str) -> str:
    """A typical command of a mode, indented and broken as a shell reads it."""
    command = f"python main.py --mode={mode} {MODE_HELP[mode].example}"
    lines = textwrap.wrap(
        command, _WIDTH - 2, break_on_hyphens=False, initial_indent=" " * 6, subsequent_indent=" " * 10
    )
    return " \\\n".join(lines) + "\n"


def requested_page(arguments: Sequence[str], add_flag: AddFlag) -> str | None:
    """The page that ``--help`` asks for; None if it is not among the arguments.

    The word after ``--help`` names the mode or is ``all``; without it, ``--mode`` does. ``--arch`` leaves out the flags
    of other networks.

    Args:
        arguments: The command line, its recipes expanded.
        add_flag: Adds a flag to a group of a parser.

    Raises:
        UsageError: There is no such mode.
    """
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=False):
        written, _, topic = argument.partition("=")
        if written == "-h" or (len(written) > 2 and "--help".startswith(written)):
            topic = topic or ("" if following.startswith("-") else following)
            return _page(topic or _value_of("mode", arguments), _value_of("arch", arguments), add_flag)
    return None


def _value_of(name: str, arguments: Sequence[str]) -> str:
    """The last value of a flag that is written out, or empty."""
    value = ""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        written, equals, joined = argument.partition("=")
        if written == f"--{name}":
            value = joined if equals else following
    return value


def _page(topic: str, architecture: str, add_flag: AddFlag) -> str:
    if not topic:
        return overview()
    known = (*MODES, ALL)
    require(topic in known, "help", topic, f"one of {', '.join(known)}{hint(topic, known)}")
    parser = argparse.ArgumentParser(
        usage=f"python main.py --mode={'MODE' if topic == ALL else topic} [FLAG ...]",
        description="All flags." if topic == ALL else f"{MODE_HELP[topic].does}\n\n{_example(topic)}",
        epilog=EPILOG,
        formatter_class=HelpFormatter,
        add_help=False,
    )
    for title, flags in _groups(topic, architecture).items():
        group = parser.add_argument_group(title)
        for flag in flags:
            add_flag(group, flag, _need(flag.name, topic))
    return parser.format_help()


def _need(name: str, topic: str) -> str:
    """The words about a flag that the mode, or one of all modes, needs; else empty."""
    modes = [mode for mode in MODES if name in MODE_HELP[mode].needs]
    if topic != ALL or not modes:
        return "required" if topic in modes else ""
    return f"required for {', '.join(modes)}; default elsewhere: {{default}}"


def _groups(topic: str, architecture: str) -> dict[str, list[Flag]]:
    """The flags of a page by the title of their group, the rare ones last."""
    shown = [flag for flag in FLAGS if not flag.hidden]
    needed: tuple[str, ...] = ()
    if topic != ALL:
        needed = MODE_HELP[topic].needs
        shown = [flag for flag in shown if topic in flag.modes and flag.name not in ("mode", "to_predict")]
    if architecture in ARCHITECTURES:
        shown = [flag for flag in shown if flag.is_of(architecture)]
    usual = [flag for flag in shown if not flag.rare and flag.name not in needed]
    return {
        NEEDED: [BY_NAME[name] for name in needed],
        **{title or GENERAL_TITLE: [flag for flag in usual if flag.group == title] for title in GROUPS},
        RARE: [flag for flag in shown if flag.rare],
    }
