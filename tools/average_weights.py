"""Averages the weights and batch-norm statistics of several checkpoints into one to evaluate or fine-tune.

A folder stands for all checkpoints in it. The optimizer state and the exponential moving averages are not copied.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse

from runtime.tensorflow_import import load_tensorflow
from tools.command import CommandParser, run_command
from utils.errors import EXIT_DONE
from utils.text import printable


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(prog="python -m tools.average_weights", description=__doc__)
    parser.add_argument(
        "checkpoints", metavar="CHECKPOINT", nargs="+", type=Path, help="checkpoint prefix, or folder of checkpoints"
    )
    parser.add_argument("--output", required=True, type=Path, help="folder to create")
    parser.add_argument("--last", type=_count, help="average only the N latest steps (default: all)", metavar="N")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text}: must be an integer of 2 or more")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    flags = make_parser().parse_args(arguments)
    return run_command(lambda: _run(flags))


def _run(flags: argparse.Namespace) -> int:
    load_tensorflow()  # here, as --help does not need it
    from tools.weights.checkpoint_rewriting import average_weights

    averaged = average_weights(flags.checkpoints, flags.last, flags.output)
    lines = [f"{flags.output}: the mean of {len(averaged)} checkpoints", *(f"  {path}" for path in averaged)]
    print("\n".join(map(printable, lines)))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
