"""Turns COCO-format annotations and their images into TFRecords with a label map and a manifest.

OUT gets ``coco_train.record-*``, ``coco_val.record-*`` and ``coco_testdev.record-*`` for the given splits,
``label_map.pbtxt`` and ``dataset.json``. After an interruption, the same command writes what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tools.command import CommandParser
from tools.convert.command_line import EXIT_TEXT, add_box_flags, add_output_flags, run_conversion


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m tools.create_coco_tfrecord",
        description=__doc__,
        epilog=EXIT_TEXT,
        allow_abbrev=False,
    )
    source = parser.add_argument_group("splits, each optional").add_argument
    for split, folder, file in (
        ("training", "train_image_dir", "train_annotations_file"),
        ("validation", "val_image_dir", "val_annotations_file"),
        ("test-dev", "test_image_dir", "testdev_annotations_file"),
    ):
        source(f"--{folder}", metavar="DIR", type=_path, help=f"folder of the {split} images")
        source(f"--{file}", metavar="FILE", type=_path, help=f"JSON file of the {split} annotations")
    add_box_flags(parser.add_argument_group("reading of boxes").add_argument)
    output = parser.add_argument_group("output").add_argument
    output("--output_dir", metavar="OUT", type=Path, required=True, help="folder to write to; created if missing")
    output(
        "--include_masks",
        metavar="BOOL",
        nargs="?",
        const=True,
        default=False,
        type=_truth,
        help="also store the mask of every object as PNG (needs the package pycocotools)",
    )
    for flag, files, customary in (("train", "train", 100), ("val", "val", 10), ("testdev", "testdev", 100)):
        output(
            f"--{flag}_shards",
            metavar="N",
            type=int,
            help=f"number of coco_{files}.record-* files (default: {customary} for all of COCO, else by image count)",
        )
    add_output_flags(output, "OUT")
    output(
        "--logtostderr", action="store_true", help="accepted for compatibility; the log always goes to standard error"
    )
    return parser


def _path(text: str) -> Path | None:
    return Path(text) if text else None  # some scripts pass an empty string for a missing split


def _truth(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r}: must be true or false")
    return words[text.lower()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    values = vars(make_parser().parse_args(arguments))

    def action() -> int:
        from tools.convert.coco_plan import coco_options, plan_coco
        from tools.convert.conversion import convert  # after parsing: --help needs neither NumPy nor Pillow

        options = coco_options(values)
        plan = plan_coco(options)
        return convert(plan, options.output_dir, workers=options.workers, overwrite=options.overwrite)

    return run_conversion(action)
