"""Sizes of images: the crop of evaluation, and training images whose size changes during a run. No TensorFlow."""

from __future__ import annotations

import itertools
import math
import re
from typing import NamedTuple

from utils.errors import UsageError, require

LARGEST_IMAGE_SIZE = 16_384
PROGRESSIVE = "progressive_sizes"
EVAL_CROP = 224 / 256
"""Share of the resized shorter side that the central crop of evaluation takes, unless --eval_crop gives another."""
SMALLEST_EVAL_CROP = 0.1  # its image is resized to ten times the side of the crop
EVAL_CROPS = f"a share or a ratio such as 224/236, at least {SMALLEST_EVAL_CROP} and at most 1"
_FORM = "SIZE:SHARE,SIZE:SHARE and so on, where each share of the run is a number from 0 to below 1"


class TrainSize(NamedTuple):
    """The side of training images in pixels, from a share of the run on."""

    size: int
    share: float


TrainSizes = tuple[TrainSize, ...]


def crop_of_text(text: str) -> float:
    """The number in ``0.95`` or ``224/236``.

    Raises:
        UsageError: The text is neither.
    """
    match = re.fullmatch(r"\s*(\d{0,6}\.?\d{1,18})\s*(?:/\s*(\d{1,6})\s*)?", text, re.ASCII)
    known = match is not None and (match[2] is None or int(match[2]) > 0)
    require(known, "eval_crop", text or "''", EVAL_CROPS)
    return float(match[1]) / int(match[2] or 1) if match is not None else math.nan


def train_sizes_of_text(text: str) -> TrainSizes:
    """The sizes in ``SIZE:SHARE,SIZE:SHARE``.

    Raises:
        UsageError: The text has another form.
    """
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*:\s*(\d{1,9}\.?\d{0,18}|\.\d{1,18})\s*", part, re.ASCII)
        require(match is not None, PROGRESSIVE, text or "''", _FORM)
        if match is not None:
            found.append(TrainSize(int(match[1]), float(match[2])))
    return tuple(found)


def text_of_train_sizes(sizes: TrainSizes) -> str | None:
    """The inverse of ``train_sizes_of_text``; None without sizes."""
    return ",".join(f"{size}:{share:g}" for size, share in sizes) or None


def check_train_sizes(train_image_size: int | None, progressive: TrainSizes) -> None:
    """Checks the sizes of training images.

    Raises:
        UsageError: A size is no side of an image, or shares do not rise from 0; or both flags are given.
    """
    allowed = f"1 to {LARGEST_IMAGE_SIZE} pixels"
    if train_image_size is not None:
        require(0 < train_image_size <= LARGEST_IMAGE_SIZE, "train_image_size", train_image_size, allowed)
    if not progressive:
        return
    text = text_of_train_sizes(progressive)
    if train_image_size is not None:
        raise UsageError(f"--{PROGRESSIVE} {text}: contradicts --train_image_size {train_image_size}; leave one out")
    for size, _ in progressive:
        require(0 < size <= LARGEST_IMAGE_SIZE, PROGRESSIVE, text, f"sizes of {allowed}, and {size} is not")
    shares = [share for _, share in progressive]
    rising = all(before < after for before, after in itertools.pairwise(shares))
    require(shares[0] == 0 and rising and shares[-1] < 1, PROGRESSIVE, text, "shares that rise from 0 to below 1")


class Stage(NamedTuple):
    """Steps that train on images of one size.

    Attributes:
        first: The step before its first one.
        size: Side of the images in pixels.
    """

    first: int
    size: int


def stages_of(sizes: TrainSizes, total_steps: int) -> tuple[Stage, ...]:
    """The stages of a run; a share of the run is rounded to whole steps.

    Raises:
        UsageError: The run is so short that a stage has no step.
    """
    if not sizes:
        return ()
    stages = tuple(Stage(int(share * total_steps + 0.5), size) for size, share in sizes)
    ends = [*(stage.first for stage in stages[1:]), total_steps]
    for stage, end in zip(stages, ends, strict=True):
        if stage.first >= end:
            raise UsageError(
                f"--{PROGRESSIVE} {text_of_train_sizes(sizes)}: images of {stage.size} pixels would have no step in a "
                f"run of {total_steps} steps; lengthen it (--num_iter) or leave a size out"
            )
    return stages
