"""Writes a checkpoint again with its classifier in the other form: a matrix, or the kernel of a 1x1 convolution.

The folder OUTPUT gets ``new.ckpt`` with the kernel [1, 1, C, K] where it was [C, K], and the other way round.
``main.py`` reads both forms by itself; other programs may want one of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from utils.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, RunError, UsageError


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="postprocess_ckpt", description=__doc__)
    parser.add_argument("--input", required=True, type=Path, help="prefix of a checkpoint, or its folder")
    parser.add_argument("--dense_layer", help="name of the kernel; the only .../output/dense/kernel by default")
    parser.add_argument("--output", type=Path, default=Path("output_dir"), help="folder to make (default: output_dir)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    flags = make_parser().parse_args(arguments)
    from utils.checkpoint_rewriting import rewrite_classifier  # loads TensorFlow, which --help need not

    try:
        before, after = rewrite_classifier(flags.input, flags.dense_layer, flags.output)
    except (UsageError, RunError) as error:
        print(f"postprocess_ckpt: error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    print(f"{flags.output / 'new.ckpt'}: the kernel {list(before)} is now {list(after)}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
