"""Checks whether this machine can run the program: the parts it has, whether they work, and how fast they are.

It uses each part, in a separate process and within a time limit, instead of only looking for it. With --gpu it then
tries what only a GPU can show, and writes all results to a file.

Exit status: 0 in order; 1 a part that every run needs, or that --require names, is missing or broken, or a trial of
--gpu failed; 2 wrong usage.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import json
import os
from collections.abc import Mapping, Sequence

from runtime.environment import environment_for
from tools.command import CommandParser, run_command
from tools.doctor.checks import Check, CheckResult, format_line, not_in_order, run_checks
from tools.doctor.gpu.trials import TRIALS
from tools.doctor.probe import BROKEN
from utils.cmdline_helper import parse
from utils.errors import EXIT_DONE, EXIT_FAILED, UsageError
from utils.files.atomic_file import write_atomically
from utils.files.writable import require_writable
from utils.program import canvas
from utils.suggestions import hint

_MACHINE, _COMPUTE = "tools.doctor.package_probes", "tools.doctor.tensorflow_probes"
CHECKS = (
    Check(name="python", probe=f"{_MACHINE}:python"),
    Check(name="cpu", probe=f"{_MACHINE}:cpu"),
    Check(name="memory", probe=f"{_MACHINE}:memory"),
    Check(name="disk", probe=f"{_MACHINE}:disk"),
    Check(name="numpy", probe=f"{_MACHINE}:numpy", essential=True),
    Check(name="pillow", probe=f"{_MACHINE}:pillow", essential=True),
    Check(name="crc32c", probe=f"{_MACHINE}:crc32c", essential=True),
    Check(name="pycocotools", probe=f"{_MACHINE}:pycocotools"),
    Check(name="tensorflow", probe=f"{_COMPUTE}:tensorflow", seconds=180, essential=True),
    Check(name="gpu", probe=f"{_COMPUTE}:gpu", needs="tensorflow"),
    Check(name="grouped_convolution", probe=f"{_COMPUTE}:grouped_convolution", needs="tensorflow", essential=True),
    Check(name="bf16", probe=f"{_COMPUTE}:bf16", needs="tensorflow"),
    Check(name="amp", probe=f"{_COMPUTE}:amp", needs="tensorflow"),
    Check(name="xla", probe=f"{_COMPUTE}:xla", seconds=120, needs="tensorflow"),
    Check(name="coco_evaluator", probe=f"{_COMPUTE}:coco_evaluator", needs="tensorflow", essential=True),
    Check(name="tflite", probe=f"{_COMPUTE}:tflite", needs="tensorflow"),
    Check(name="litert", probe=f"{_COMPUTE}:litert", needs="tensorflow"),
    Check(name="onnx", probe=f"{_MACHINE}:onnx"),
    Check(name="onnxruntime", probe=f"{_MACHINE}:onnxruntime"),
    Check(name="openvino", probe=f"{_MACHINE}:openvino"),
    Check(name="dali", probe=f"{_COMPUTE}:dali", needs="tensorflow"),
    Check(name="horovod", probe="tools.doctor.horovod_probe:horovod", seconds=200, needs="tensorflow"),
)
GPU_RESULTS = "doctor_gpu.json"
_COLORS = {"ok": "32", "missing": "33", "skipped": "33", "broken": "31"}


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(prog="python -m tools.doctor", description=__doc__, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    names = ", ".join(check.name for check in CHECKS)
    parser.add_argument(
        "--require", metavar="NAME,...", default="", help=f"end with status 1 unless these are in order: {names}"
    )
    parser.add_argument(
        "--gpu",
        action="store_true",
        help="then compare training on the GPU with the CPU: each network in each precision, memory, resume, several "
        "processes, DALI, speed; takes some ten minutes. Without a GPU, those trials run that the CPU can do",
    )
    parser.add_argument(
        "--output", metavar="FILE", default=None, help=f"with --gpu: file for all results (default: {GPU_RESULTS})"
    )
    return parser


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; ``require`` becomes the names.

    Raises:
        UsageError: A name is not the name of a check, or --output has nothing to write.
    """
    flags = make_parser().parse_args(arguments)
    if flags.output is not None and not flags.gpu:
        raise UsageError(f"--output {flags.output}: only used with --gpu; --json prints the results of the checks")
    flags.require = [name for name in (part.strip() for part in flags.require.split(",")) if name]
    known = [check.name for check in CHECKS]
    for name in flags.require:
        if name not in known:
            raise UsageError(f"--require {name}: must be one of {', '.join(known)}{hint(name, known)}")
    return flags


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a run with ``--xla``, with the folder that this command was started in."""
    config = parse(["--mode=training_benchmark", "--batch_size=1", "--xla"], {}).config
    return {**environ, **environment_for(config, environ), "PWD": os.getcwd()}  # noqa: PTH109


def run(flags: argparse.Namespace, checks: Sequence[Check] = CHECKS, trials: Sequence[Check] = TRIALS) -> int:
    """Runs all checks, and with ``--gpu`` the trials; prints their results, and returns the exit status.

    Raises:
        OSError: The file for the results cannot be written.
    """
    output = Path(flags.output or GPU_RESULTS).absolute()
    if flags.gpu:
        require_writable(output.parent)
    rows: list[CheckResult] = []
    environ = environment(os.environ)
    width = max(len(check.name) for check in (*checks, *(trials if flags.gpu else ())))
    for part in (checks, trials) if flags.gpu else (checks,):  # the trials begin in a process of their own
        for row in run_checks(part, environ):
            rows.append(row)
            if not flags.json:
                print(format_line(row, width, _paint), file=canvas(sys.stdout), flush=True)
    tried = {trial.name for trial in trials if flags.gpu}
    failed = not_in_order(rows, {check.name for check in checks if check.essential}.union(flags.require))
    failed += [row for row in rows if row.name in tried and row.state == BROKEN]
    results = json.dumps({"fit": not failed, "checks": {row.name: row.to_json() for row in rows}}, indent=1)
    if flags.gpu:
        write_atomically(output, f"{results}\n".encode())
    if flags.json:
        print(results)
    elif flags.gpu:
        print(f"all results: {output}")
    for row in failed:
        print(f"error: {row.name} is {row.state}: {row.text}", file=sys.stderr)
    return EXIT_FAILED if failed else EXIT_DONE


def _paint(state: str, text: str) -> str:
    colored = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\033[{_COLORS[state]}m{text}\033[0m" if colored else text


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(lambda: run(parse_arguments(arguments)))


if __name__ == "__main__":
    sys.exit(main())
