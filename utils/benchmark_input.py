"""Measures the input pipeline alone, without any network.

Prints the images per second of the whole pipeline and of reading and decoding alone, both from this one run.
"""

from __future__ import annotations

import argparse
import sys

from utils.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, RunError, UsageError, require


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line.

    Raises:
        UsageError: a number is out of range.
    """
    parser = argparse.ArgumentParser(prog="python -m utils.benchmark_input", description=__doc__)
    parser.add_argument("--data_dir", required=True, help="folder with the records of python -m utils.convert_dataset")
    parser.add_argument("--split", choices=("train", "validation"), default="train", help="default: %(default)s")
    parser.add_argument("--image_size", type=int, default=224, help="side in pixels (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=32, help="images in a batch (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=50, help="batches to measure (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=None, help="decoding threads (default: one per CPU)")
    flags = parser.parse_args(arguments)
    require(flags.batches > 0, "batches", flags.batches, "a positive integer")
    return flags


def run(flags: argparse.Namespace) -> str:
    """Measures and returns the text to print."""
    # Here, so that --help and a wrong flag answer at once: TensorFlow takes seconds to import.
    from utils.batching import InputOptions
    from utils.input_speed import measure_input
    from utils.manifest import load_split

    options = InputOptions(
        image_size=flags.image_size, batch_size=flags.batch_size, num_classes=1, label_offset=0, seed=0,
        threads=flags.threads,
    )  # fmt: skip
    files = load_split(flags.data_dir, flags.split)
    speed = measure_input(files, options, flags.split == "train", flags.batches)
    return (
        f"pipeline: {speed.pipeline:.0f} images/s\n"
        f"decoding alone: {speed.decoding:.0f} images/s\n"
        f"share of decoding in the pipeline's time: {speed.decoding_share:.0%}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    try:
        print(run(parse_arguments(arguments)))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
