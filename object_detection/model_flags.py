"""The flags of ``object_detection/model_main.py`` and their parser (no TF).

The syntax is that of the familiar program: one dash or two, ``--flag value`` or ``--flag=value``; a switch is
``--flag``, ``--noflag``, ``--no_flag`` or ``--flag=false``. If a flag is given twice, the last one counts.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from utils.config import AUTO, CONSOLES, DATA_FORMATS
from utils.console.pipes import show_page
from utils.errors import UsageError, require
from utils.flags.help_format import HelpFormatter
from utils.suggestions import did_you_mean, nearest

TEXT, INTEGER, SWITCH, IGNORED = "text", "integer", "switch", "ignored"

REPORT_FILE = "summary.json"
EVAL_ON_TRAIN_EVERY = 5
BENCHMARK = "inference_benchmark"
NUM_ITER, WARMUP_STEPS, PERCENTILES = 400, 100, "90,95,99"

_SWITCH_VALUES = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_HELP = ("h", "help", "helpshort", "helpfull")
_EPILOG = """\
--hparams_overrides takes train_input_path, eval_input_path, label_map_path, fine_tune_checkpoint, load_pretrained,
batch_size, num_classes, learning_rate and others, and any field by its path, such as train_config.batch_size=16 or
train_config.data_augmentation_options[1].random_crop_image.min_area=0.5. Put a value that contains commas in quotes,
and a list in brackets.

Exit status: 0 done; 1 failed; 2 wrong usage; 75 interrupted, the state is saved and the same command continues.
"""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag: its name, the kind of its value, and its help."""

    name: str
    kind: str
    help: str


FLAGS = (
    Flag("model_dir", TEXT, "Folder for checkpoints and results. Required, except with --mode."),
    Flag("pipeline_config_path", TEXT, "Pipeline config, a text file as in object_detection/configs. Required."),
    Flag("num_train_steps", INTEGER, "Steps to train; does not change the schedule. (default: the config's num_steps)"),
    Flag("eval_count", INTEGER, "Number of evaluations, evenly spaced, the last one at the end. (default: 1)"),
    Flag("skip_evaluation", SWITCH, "Train only. (default: off)"),
    Flag("checkpoint_dir", TEXT, "Evaluate the checkpoints in this folder instead of training. (default: train)"),
    Flag("run_once", SWITCH, "With --checkpoint_dir: evaluate the newest checkpoint only. (default: follow new ones)"),
    Flag("eval_training_data", SWITCH, "With --checkpoint_dir: evaluate on the training data. (default: off)"),
    Flag("sample_1_of_n_eval_examples", INTEGER, "Evaluate every n-th image. (default: the config's value, or 1)"),
    Flag(
        "sample_1_of_n_eval_on_train_examples",
        INTEGER,
        f"With --eval_training_data: evaluate every n-th image. (default: {EVAL_ON_TRAIN_EVERY})",
    ),
    Flag("batch_size", INTEGER, "Images per step and process. (default: the config's batch_size)"),
    Flag("hparams_overrides", TEXT, "Override fields of the config: name=value,name=value. (default: none)"),
    Flag("report_file", TEXT, f"Log file, one JSON record per line. (default: {REPORT_FILE} in the current folder)"),
    Flag("raport_file", TEXT, "The original spelling of --report_file."),
    Flag("mode", TEXT, f"{BENCHMARK}: time the network on the validation images. (default: train or evaluate)"),
    Flag("num_iter", INTEGER, f"With --mode: number of batches, including the warm-up. (default: {NUM_ITER})"),
    Flag("warmup_steps", INTEGER, f"With --mode: first batches, which are not measured. (default: {WARMUP_STEPS})"),
    Flag("percentiles", TEXT, f"With --mode: latency percentiles, separated by commas. (default: {PERCENTILES})"),
    Flag("reset_head", SWITCH, "Start with a new class predictor; all other weights come from fine_tune_checkpoint."),
    Flag("max_bad_records", INTEGER, "Number of unusable records that a run skips before it fails. (default: 0)"),
    Flag("report", SWITCH, "Write report.html, with curves and mistakes, to --model_dir at the end. (default: on)"),
    Flag("console", TEXT, f"{', '.join(CONSOLES)}: show the run for people or for programs. (default: {AUTO})"),
    Flag(
        "histograms_every",
        INTEGER,
        "Log histograms of weights, gradients and activations for TensorBoard every n-th step. (default: 0, never)",
    ),
    Flag("profile", TEXT, "FROM,TO: trace these steps, for TensorBoard and trace viewers. (default: none)"),
    Flag("amp", SWITCH, "Mixed precision. (default: off)"),
    Flag("tf32", SWITCH, "Round float32 products to TensorFloat-32 on GPUs that can. (default: on)"),
    Flag("allow_xla", SWITCH, "Compile with XLA. (default: off)"),
    Flag("data_format", TEXT, f"Layout of the network's tensors, {' or '.join(DATA_FORMATS)}. (default: NHWC)"),
    Flag("seed", INTEGER, "Seed of everything random. (default: drawn, and logged)"),
    Flag("dry_run", SWITCH, "Print the plan of the run and write nothing. (default: off)"),
    Flag("deterministic", SWITCH, "Same seed, same weights, bit for bit. (default: off)"),
    Flag("alsologtostderr", IGNORED, "Accepted without effect; messages always go to stderr."),
    Flag("alsologtostder", IGNORED, "Accepted without effect."),
    Flag("logtostderr", IGNORED, "Accepted without effect."),
)
_BY_NAME = {flag.name: flag for flag in FLAGS}


def read_flags(argv: Sequence[str]) -> dict[str, Any]:
    """Parses the given flags and returns their values by name.

    Raises:
        UsageError: A flag is unknown, or its value is invalid.
        SystemExit: After --help.
    """
    given: dict[str, Any] = {}
    waiting = list(reversed(argv))
    while waiting:
        argument = waiting.pop()
        match = re.fullmatch(r"--?(\w[\w-]*)(?:=(.*))?", argument, re.DOTALL)
        if match is None:
            raise UsageError(f"{argument}: belongs to no flag")
        name, value = match[1], match[2]
        if name in _HELP:
            show_page(_help())
            raise SystemExit(0)
        flag = _flag_called(argument, name)
        if flag.kind in (SWITCH, IGNORED):
            given[flag.name] = _switch(argument, flag, name, value)
            continue
        if value is None:
            if not waiting or waiting[-1].startswith("--"):
                raise UsageError(f"--{name}: needs a value")
            value = waiting.pop()
        given[name] = _integer(name, value) if flag.kind == INTEGER else value
    return given


def _flag_called(argument: str, name: str) -> Flag:
    positive = _BY_NAME.get(name.removeprefix("no").removeprefix("_"))
    flag = _BY_NAME.get(name) or (positive if positive and positive.kind in (SWITCH, IGNORED) else None)
    if flag is None:
        question = did_you_mean(f"--{near}" for near in nearest(name, ["help", *_BY_NAME]))
        raise UsageError(f"{argument.partition('=')[0]}: unknown flag; {question or '--help lists all flags'}")
    return flag


def _switch(argument: str, flag: Flag, name: str, value: str | None) -> bool:
    if value is None:
        return name == flag.name
    if name != flag.name:
        raise UsageError(f"{argument}: --{name} takes no value")
    require(value.lower() in _SWITCH_VALUES, name, value, "true or false")
    return _SWITCH_VALUES[value.lower()]


def _integer(name: str, value: str) -> int:
    require(re.fullmatch(r"[+-]?\d{1,18}", value) is not None, name, value or "''", "an integer")
    return int(value)


def _help() -> str:
    parser = argparse.ArgumentParser(
        prog="model_main.py",
        usage="python object_detection/model_main.py --model_dir=FOLDER\n       --pipeline_config_path=FILE [FLAG ...]",
        description="Train and evaluate SSD320 from a pipeline config.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    for flag in FLAGS:
        if flag.kind in (SWITCH, IGNORED):
            parser.add_argument(f"--[no]{flag.name}", action="store_true", help=flag.help)
        else:
            text = "PATH" if flag.name.endswith(("_dir", "_path", "_file")) else "TEXT"
            parser.add_argument(f"--{flag.name}", metavar="N" if flag.kind == INTEGER else text, help=flag.help)
    return parser.format_help()
