"""Compares settings of training on the same images, over folds and seeds.

Each launch of main.py runs after the other. A killed sweep continues with the same command; a killed launch is
continued, and a failed one is reported and does not stop the others.
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
from collections.abc import Sequence

from tools.command import CommandParser, run_command
from utils.errors import EXIT_DONE, EXIT_SOME_SKIPPED, RunError, UsageError
from utils.files.atomic_file import write_atomically
from utils.files.file_lock import locked
from utils.text import one_line

PLAN_NAME, RESULTS_NAME, PAGE_NAME = "sweep.json", "results.json", "sweep.html"


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m tools.sweep",
        description=__doc__,
        epilog="Exit status: 0 done; 1 failed; 2 wrong usage; 3 done, some launches failed; 75 interrupted, the same "
        "command continues.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--folds", metavar="K", type=int, help="divide the training images into K folds, and hold out each once")
    add("--seeds", metavar="N", type=int, default=1, help="repeat everything with the seeds 1 to N (default: 1)")
    add(
        "--grid",
        metavar="FLAG=A,B",
        action="append",
        default=[],
        help="compare values of a flag of main.py (on,off for a switch); several grids give all combinations",
    )
    add(
        "--setting",
        metavar="NAME='FLAGS'",
        action="append",
        default=[],
        help="compare flags or recipes by name, as in small='@recipes/small.args'",
    )
    add("--output", metavar="SWEEP", type=Path, required=True, help="folder for the launches and the page")
    add(
        "--keep_checkpoints",
        action="store_true",
        help="keep the checkpoints of finished launches, which are deleted otherwise",
    )
    add("flags", metavar="FLAGS", nargs="*", help="after --: the flags of main.py for all launches")
    return parser


def run(options: argparse.Namespace) -> int:
    """Runs the sweep, prints its table, and returns the exit status.

    Raises:
        UsageError: The flags make no sense, or the output is that of another sweep.
        RunError: Data cannot be read, or every launch failed.
    """
    from tools.sweep.launches import DONE, finish, requests_to_end  # after parsing: --help needs no NumPy
    from tools.sweep.plan import check, make_plan
    from tools.sweep.results import find, to_json
    from tools.sweep.sweep_page import failures, plain_table, sentences, sweep_page

    output: Path = options.output
    plan = make_plan(options.folds, options.seeds, options.grid, options.setting, options.flags)
    for note in check(plan, output, os.environ):
        print(f"note: {one_line(note)}", file=sys.stderr)
    _claim(output, plan.to_json())
    ended = []
    launches = [*plan.launches(output)]
    with locked(output, f"--output {output}: another sweep is running in it"), requests_to_end() as requests:
        for number, launch in enumerate(launches, 1):
            result = finish(launch, requests, keep_checkpoints=options.keep_checkpoints)
            ended.append((launch, result))
            told = result.state if result.state == DONE else f"{result.state}: {result.reason}"
            print(f"[{number}/{len(launches)}] {launch.name}: {one_line(told)}, {result.processor_seconds:.1f} s of "
                  "processor time", flush=True)  # fmt: skip
        if not any(result.state == DONE for _, result in ended):
            raise RunError(f"every launch failed; the first: {ended[0][1].reason}")
        findings = find([one.name for one in plan.settings], ended)
        write_atomically(output / RESULTS_NAME, _json(to_json(findings)))
        write_atomically(output / PAGE_NAME, sweep_page(plan, findings, ended))
    for line in ("", *plain_table(findings), "", *map(one_line, sentences(findings))):
        print(line)
    failed = failures(ended)
    for line in (*findings.notes, *findings.tests.refused, *failed):
        print(one_line(line), file=sys.stderr)
    print(f"{one_line(str(output / PAGE_NAME))} shows it, {RESULTS_NAME} has the numbers")
    return EXIT_SOME_SKIPPED if failed else EXIT_DONE


def _claim(output: Path, plan: object) -> None:
    """Stores the plan in the output folder, which must be new, empty or that of the same plan.

    Raises:
        UsageError: It is the folder of another sweep, or of something else.
    """
    path = output / PLAN_NAME
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output}: is a file; must be a folder")
    if path.is_file():
        try:
            stored = json.loads(path.read_bytes())
        except ValueError:
            stored = None
        if stored != plan:
            raise UsageError(
                f"--output {output}: holds another sweep ({PLAN_NAME} has its folds, seeds, grid and flags); repeat "
                "its command to continue it, or name another folder"
            )
        return
    if output.is_dir() and any(output.iterdir()):
        raise UsageError(f"--output {output}: is not empty and holds no sweep; name another folder")
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _json(plan))


def _json(content: object) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    return run_command(lambda: run(options), interrupted="finished launches are kept, and the same command continues")


if __name__ == "__main__":
    sys.exit(main())
