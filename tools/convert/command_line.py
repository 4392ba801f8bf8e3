"""Output flags, exit statuses and logging that the conversion commands share (no TF)."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from object_detection.coco.box_formats import FORMATS
from tools.command import run_command

EXIT_TEXT = """\
Exit status: 0 done; 1 failed, complete shards are kept; 2 wrong usage; 3 done, unreadable images left out;
75 interrupted, complete shards are kept and the same command continues.
"""


def add_output_flags(add: Callable[..., object], out: str) -> None:
    """Adds the flags of the output; ``out`` is the name of the output folder on the command line."""
    cpus = len(os.sched_getaffinity(0))
    add("--workers", metavar="N", type=int, default=cpus, help="processes (default: one per CPU)")
    add("--skip_unreadable", action="store_true", help="leave out unreadable images, and list them")
    add("--overwrite", action="store_true", help=f"replace any data set in {out}, starting from scratch")


def add_boxes_are(add: Callable[..., object]) -> None:
    """Adds the flag that says which picture boxes were drawn on."""
    add(
        "--boxes_are",
        choices=("auto", "upright", "stored"),
        default="auto",
        help="picture that boxes were drawn on, where EXIF turns it: the upright or the stored one (default: the one "
        "whose size the annotations give, else the stored one)",
    )


def add_box_flags(add: Callable[..., object]) -> None:
    """Adds the flags that say how to read the boxes of COCO's JSON files."""
    add(
        "--box_format",
        metavar="FORMAT",
        choices=("auto", *FORMATS),
        default="auto",
        help="how a box is written: %(choices)s; that is x, y, width, height, or two corners, or center and size, in "
        "pixels, in fractions or in percent of the image (default: xywh; boxes that contradict it are refused)",
    )
    add_boxes_are(add)


def run_conversion(action: Callable[[], int]) -> int:
    """Runs a conversion as ``run_command`` does, with its log on standard error."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command(action, interrupted="complete shards are kept, and the same command continues")
