"""Compares the speed of this program with that of PyTorch, ONNX Runtime, OpenVINO and DALI, cell by cell.

A cell is a network in inference or training at a batch size and compute type, the training input, or a whole process.
Its contestants are alive at the same time and take turns. Results are medians over the rounds, with the smallest and
largest value; a ratio is that of one round.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
from collections.abc import Sequence

from tools.command import CommandParser, run_command
from tools.measure.compare.cells import TABLE, chosen_cells
from tools.measure.compare.comparison import LEAST_ROUNDS, LEAST_STEPS, Comparison, Length
from utils.errors import EXIT_DONE, EXIT_SOME_SKIPPED, require

_EPILOG = (
    f"Cells: {', '.join(TABLE)}; and the same with another network or batch size. Without --cells, those are left out "
    "that no peer can enter. Exit status: 0 done; 1 failed, or nothing could be measured; 2 wrong usage; 3 done, but a "
    "cell or contestant that was asked for is missing; 75 interrupted."
)
THREADS = 2


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(prog="python -m tools.measure compare", description=__doc__, epilog=_EPILOG)
    parser.add_argument("--cells", metavar="NAME,...", help="cells to measure (default: all that this machine can)")
    parser.add_argument(
        "--oracle_python",
        metavar="PATH",
        help="Python of an environment with torch, timm and torchvision, see requirements/oracle.txt",
    )
    parser.add_argument("--data_dir", metavar="RECORDS", help="TFRecords for classification, for the cell of the input")
    parser.add_argument("--threads", type=int, default=THREADS, help="threads of a contestant (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=LEAST_ROUNDS, help="turns of each contestant, at least and by default %(default)s"
    )
    parser.add_argument(
        "--steps", type=int, default=LEAST_STEPS, help="least steps of a turn, at least and by default %(default)s"
    )
    parser.add_argument("--json", metavar="PATH", type=Path, help="file for all figures")
    parser.add_argument("--markdown", metavar="PATH", type=Path, help="file for the tables, which are printed too")
    return parser


def run(options: argparse.Namespace) -> int:
    """Measures and returns the exit status.

    Raises:
        UsageError: A flag is out of range, or names something that is not there.
        RunError: Nothing can be measured.
    """
    require(options.threads > 0, "threads", options.threads, "a positive integer")
    require(options.rounds >= LEAST_ROUNDS, "rounds", options.rounds, f"at least {LEAST_ROUNDS}")
    require(options.steps >= LEAST_STEPS, "steps", options.steps, f"at least {LEAST_STEPS}")
    named = options.cells is not None
    names = [name.strip() for name in options.cells.split(",") if name.strip()] if named else TABLE
    cells = chosen_cells(names)
    length = Length(rounds=options.rounds, steps=options.steps, threads=options.threads)
    comparison = Comparison(cells, length, json=options.json, markdown=options.markdown, only_contests=not named)
    comparison.run(options.oracle_python, options.data_dir)
    print(comparison.text(), end="")
    return EXIT_SOME_SKIPPED if comparison.incomplete else EXIT_DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    return run_command(lambda: run(options), interrupted="what was measured before is in the files that were asked for")


if __name__ == "__main__":
    sys.exit(main())
