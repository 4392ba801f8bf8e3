"""Exports a checkpoint as SavedModel, frozen graph, ONNX, TFLite and OpenVINO, and compares each with the checkpoint.

Also accepts the flags of the older program that wrote frozen graphs. Imports TensorFlow only once the flags are valid.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from runtime.artefacts.formats import FORMATS, find_artefact, read_formats
from runtime.entry_point import start
from tools.command import CommandParser, run_command
from utils.cmdline_helper import Command
from utils.cmdline_helper import parse as parse_run
from utils.config import ARCHITECTURES, DATA_FORMATS, EVAL_WEIGHTS
from utils.errors import UsageError, require
from utils.hooks.preemption import PreemptionHook
from utils.image_sizes import sides_of, size_of_text

BATCH = 8
"""Batch size for comparing artefacts that accept any batch size."""
DEFAULT = next(iter(FORMATS))
NAMED_FILE = next(row.name for row in FORMATS.values() if "output_file" in row.flags)
"""The format that ``--output_file`` alone asks for."""


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed command line: the run to set up, and the fields of ``ExportOptions``."""

    command: Command
    options: Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Runs one export and returns its exit status."""
    return run_command(lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> int:
    request = parse(arguments, os.environ)
    return start(request.command, lambda command, stop: _export(command, request.options, stop))


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Request:
    """Reads a command line.

    Raises:
        UsageError: A flag is unknown or out of range, or flags contradict each other.
    """
    given = make_parser().parse_args(list(arguments))
    if not given.model_dir:
        raise UsageError("--model_dir: missing; give the checkpoint to export, or the folder of a run (--checkpoint)")
    if not given.export_dir and not given.output_file:
        raise UsageError(
            "--export_dir: missing; give the folder to export to, or --output_file for a frozen graph alone"
        )
    formats = read_formats(given.format or (NAMED_FILE if given.output_file else DEFAULT))
    _check(given, formats)
    output_file = Path(given.output_file) if given.output_file else None
    folder = Path(given.export_dir) if given.export_dir else Path(given.output_file).parent
    options = {
        "formats": formats,
        "folder": folder,
        "output_file": output_file,
        "batch_size": given.batch_size,
        "layout": given.input_format,
        "calibration_images": given.calibration_images,
        "validation_images": given.validation_images,
        "speed_seconds": given.speed_seconds,
        "max_drift": given.max_drift,
        "max_metric_drop": given.max_metric_drop,
        "opset": given.opset,
        "text": given.write_text_graphdef,
    }
    return Request(_command(given, folder, environ), options)


def _check(given: argparse.Namespace, formats: Sequence[str]) -> None:
    for flag in ("calibration_images", "validation_images", "batch_size", "num_classes"):
        value = getattr(given, flag)
        require(value is None or value > 0, flag, value, "a positive integer")
    size = given.image_size
    require(size is None or min(sides_of(size)) > 0, "image_size", size, "a positive integer")
    for flag in ("max_drift", "max_metric_drop", "speed_seconds"):
        value = getattr(given, flag)
        require(value is None or 0 <= value < math.inf, flag, value, "0 or more")
    rows = [FORMATS[name] for name in formats]
    for other in (row for row in FORMATS.values() if row not in rows):
        for flag in other.flags:
            value = getattr(given, flag)
            if value is not None and value is not False:
                raise UsageError(f"--{flag}: only used with --format {other.name}")
    for flag, why in ((flag, why) for row in rows for flag, why in row.nhwc_only.items()):
        if getattr(given, flag) == "NCHW":
            raise UsageError(f"--{flag} NCHW: {why}; leave out the flag or the format")
    if find_artefact(Path(given.model_dir)):
        raise UsageError(
            f"--model_dir {given.model_dir}: is an exported artefact; give the checkpoint that it was made from"
        )


def _command(given: argparse.Namespace, folder: Path, environ: Mapping[str, str]) -> Command:
    """The run to set up, as flags of ``main.py``: an evaluation with data, an inference benchmark without."""
    flags = [f"--model_dir={given.model_dir}", f"--export_dir={folder}", f"--data_format={given.compute_format}"]
    flags += [f"--batch_size={given.batch_size or BATCH}", f"--log_level={given.log_level}"]
    if given.data_dir:
        flags += ["--mode=evaluate", f"--data_dir={given.data_dir}"]
    else:
        flags += ["--mode=inference_benchmark", "--iter_unit=batch", "--num_iter=1000", "--warmup_steps=0"]
    named = ("arch", "image_size", "num_classes", "eval_weights")
    flags += [f"--{name}={getattr(given, name)}" for name in named if getattr(given, name)]
    flags += [
        f"--{name}" for name in ("quantize", "symmetric", "use_qdq", "use_final_conv", "cpu") if getattr(given, name)
    ]
    return parse_run(flags, environ)


_EXIT_TEXT = "Exit status: 0 done; 1 failed, or an artefact differs too much; 2 wrong usage; 75 interrupted."


class _Parser(CommandParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all flags."""
    parser = _Parser(prog="python -m tools.export", description=(__doc__ or "").partition("\n")[0], epilog=_EXIT_TEXT)
    add = parser.add_argument
    add("--model_dir", "--checkpoint", metavar="PATH", help="checkpoint, or folder whose newest checkpoint to export")
    add("--format", metavar="NAME,...", help=f"formats: {', '.join(FORMATS)} (default: {DEFAULT})")
    add("--export_dir", metavar="PATH", help="folder for the artefacts and export_report.json")
    add("--output_file", metavar="PATH", help="file for the frozen graph (default: model.pb in --export_dir)")
    add(
        "--data_dir",
        metavar="PATH",
        help="TFRecords: the training images calibrate int8, the others test the artefacts",
    )
    names = f"network: {', '.join(ARCHITECTURES)} (default: the checkpoint's)"
    add("--arch", "--model_name", metavar="NAME", choices=ARCHITECTURES, help=names)
    size = "size of the input in pixels, one number or HEIGHTxWIDTH (default: the checkpoint's)"
    add("--image_size", type=partial(size_of_text, "image_size"), metavar="N", help=size)
    add("--num_classes", type=int, help="number of classes (default: the checkpoint's)")
    add("--eval_weights", choices=EVAL_WEIGHTS, help="raw weights or their moving average (default: ema if any)")
    add("--batch_size", type=int, help="fixed batch size of the artefacts (default: any)")
    add("--input_format", choices=DATA_FORMATS, default="NHWC", help="layout of the input (default: NHWC)")
    add("--compute_format", choices=DATA_FORMATS, default="NHWC", help="layout of the computation (default: NHWC)")
    add("--calibration_images", type=int, default=100, help="training images that calibrate int8 (default: 100)")
    add("--validation_images", type=int, default=64, help="validation images that test the artefacts (default: 64)")
    turn = "shortest length of a turn when artefact and checkpoint are timed against each other; 0: not (default: 0.5)"
    add("--speed_seconds", type=float, default=0.5, metavar="S", help=turn)
    add("--max_drift", type=float, help="fail if outputs drift further from the checkpoint's (default: per format)")
    add("--max_metric_drop", type=float, help="fail if the metric drops by more (default: per format)")
    add("--opset", type=int, help="ONNX opset version (default: 17)")
    add("--write_text_graphdef", action="store_true", help="write the frozen graph as text too")
    add("--quantize", action="store_true", help="the checkpoint was trained with quantization")
    add("--symmetric", action="store_true", help="the checkpoint's quantization ranges are symmetric")
    add("--use_qdq", action="store_true", help="the checkpoint was trained with --use_qdq")
    add("--use_final_conv", action="store_true", help="the checkpoint's classifier is a 1x1 convolution")
    add("--cpu", action="store_true", help="run everything on the CPU")
    add("--log_level", metavar="LEVEL", default="info", help="debug, info, warning or error (default: info)")
    return parser


def _export(command: Command, options: Mapping[str, Any], stop: PreemptionHook) -> int:
    from runtime.artefacts.export_job import ExportOptions  # imports TensorFlow
    from runtime.artefacts.exporting import export
    from runtime.setup.set_up import set_up_alone

    return export(command.config, set_up_alone, ExportOptions(**options), stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
