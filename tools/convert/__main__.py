"""Turns folders of images, or ImageNet's archives, into TFRecords with a manifest.

SRC holds ``train/<class>/*`` and ``validation/<class>/*`` (or ``val``), or class folders alone, or ImageNet's tar
files. With ``--labels FILE`` it holds images anywhere, which the file lists with several labels each. OUT gets
``train-*``, ``validation-*`` and ``dataset.json``. After an interruption, the same command writes what is missing.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
from collections.abc import Callable, Sequence

from tools.command import CommandParser
from tools.convert.command_line import EXIT_TEXT, add_boxes_are, add_output_flags, run_conversion


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m tools.convert",
        description=__doc__,
        epilog=EXIT_TEXT,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("source", metavar="SRC", type=Path, help="folder that holds the images, or ImageNet's tar files")
    add("out", metavar="OUT", type=Path, help="folder to write to; created if missing")
    split = parser.add_argument_group("splits and classes").add_argument
    split("--validation_fraction", metavar="F", type=float, help="fraction of each class to set aside for validation")
    split(
        "--validation_labels",
        metavar="FILE",
        type=Path,
        help="labels of a validation folder or tar file without class folders: one synset per line in the order of the "
        "file names, or ILSVRC2012_devkit_t12.tar.gz",
    )
    _add_several_labels(split)
    split("--class_names", metavar="FILE", type=Path, help="one name per line, or lines of folder (synset) TAB name")
    split(
        "--head_size",
        metavar="N",
        type=int,
        help="number of logits of a network for this data; at least the class count",
    )
    split(
        "--bounding_boxes",
        metavar="PATH",
        type=Path,
        help="boxes to store with the images: folder of XML annotations, or CSV file",
    )
    add_boxes_are(split)
    split("--groups", metavar="FILE", type=Path, help="CSV of file name,group; images of one group stay in one fold")
    output = parser.add_argument_group("output").add_argument
    output(
        "--train_shards",
        metavar="N",
        type=int,
        help="number of train-* files (default: depends on the number of images)",
    )
    output("--validation_shards", metavar="N", type=int, help="number of validation-* files (default: likewise)")
    output("--seed", metavar="N", type=int, default=12345, help="seed of the shuffle (default: %(default)s)")
    add_output_flags(output, "OUT")
    return parser


def _add_several_labels(add: Callable[..., object]) -> None:
    """Adds the flags for images with several labels each."""
    add(
        "--labels",
        metavar="FILE",
        type=Path,
        help="images with several labels each: CSV with the columns file, labels (separated by ;) and maybe split, "
        "or JSON objects with these keys",
    )
    add(
        "--multi_label",
        action="store_true",
        help="an image that lies in several class folders, with the same name and content, has all their labels",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    values = vars(make_parser().parse_args(arguments))

    def action() -> int:
        from tools.convert.classification_plan import ClassificationOptions, plan_classification
        from tools.convert.conversion import convert
        from tools.convert.several_labels_plan import (
            plan_several_labels,
        )  # after parsing: --help needs neither NumPy nor Pillow

        options = ClassificationOptions(**values)
        several = options.multi_label or options.labels is not None
        plan = plan_several_labels(options) if several else plan_classification(options)
        return convert(plan, options.out, workers=options.workers, overwrite=options.overwrite)

    return run_conversion(action)


if __name__ == "__main__":
    sys.exit(main())
