"""Rewrites a checkpoint with its classifier in the other form: a matrix, or the kernel of a 1x1 convolution.

The folder of --output gets ``new.ckpt``, whose kernel is [1, 1, C, K] in place of [C, K] or the reverse. ``main.py``
reads both forms; other programs may need one of them.
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
    parser = CommandParser(prog="python -m tools.postprocess_weights", description=__doc__)
    parser.add_argument("--input", required=True, type=Path, help="prefix of a checkpoint, or its folder")
    parser.add_argument(
        "--dense_layer", metavar="NAME", help="name of the kernel (default: the only .../output/dense/kernel)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("output_dir"), help="folder to create (default: output_dir)"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    flags = make_parser().parse_args(arguments)
    return run_command(lambda: _run(flags))


def _run(flags: argparse.Namespace) -> int:
    load_tensorflow()  # here, as --help does not need it
    from tools.weights.checkpoint_rewriting import rewrite_classifier

    before, after = rewrite_classifier(flags.input, flags.dense_layer, flags.output)
    print(f"{printable(str(flags.output / 'new.ckpt'))}: the kernel {list(before)} is now {list(after)}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
