"""Writes the mean of several checkpoints' weights and batch-norm statistics, to be evaluated or fine-tuned.

Folders stand for all checkpoints in them. Neither the optimizer's state nor moving averages are taken along.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.command import run_command
from utils.errors import EXIT_DONE


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.average_weights", description=__doc__)
    parser.add_argument(
        "checkpoints", metavar="CHECKPOINT", nargs="+", type=Path, help="folder, or prefix of a checkpoint"
    )
    parser.add_argument("--output", required=True, type=Path, help="folder to make")
    parser.add_argument("--last", type=_count, help="only the N of the highest steps (default: all)", metavar="N")
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
    from tools.weights.checkpoint_rewriting import average_weights  # loads TensorFlow, which --help need not

    averaged = average_weights(flags.checkpoints, flags.last, flags.output)
    print("\n".join([f"{flags.output}: the mean of {len(averaged)} checkpoints", *(f"  {path}" for path in averaged)]))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
