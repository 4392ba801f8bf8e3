"""Writes the mean of several checkpoints' weights and batch-norm statistics, to be evaluated or fine-tuned.

Folders stand for all checkpoints in them. Neither the optimizer's state nor moving averages are taken along.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from utils.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, RunError, UsageError


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="average_checkpoints", description=__doc__)
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
    from utils.checkpoint_rewriting import average_weights  # loads TensorFlow, which --help need not

    try:
        averaged = average_weights(flags.checkpoints, flags.last, flags.output)
    except (UsageError, RunError) as error:
        print(f"average_checkpoints: error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    print("\n".join([f"{flags.output}: the mean of {len(averaged)} checkpoints", *(f"  {path}" for path in averaged)]))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
