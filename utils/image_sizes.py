"""Sizes of images: height and width, the crop of evaluation, and training images whose size changes. No TensorFlow."""

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
_SIZE_FORM = "an integer, or HEIGHTxWIDTH such as 320x512"
_ALLOWED = f"1 to {LARGEST_IMAGE_SIZE} pixels"


class Sides(NamedTuple):
    """Height and width in pixels of images that are not square."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


ImageSize = int | Sides
"""Height and width of images in pixels: one number if both are equal, else a pair."""


def size_of_sides(height: int, width: int) -> ImageSize:
    """The size of images of this height and width."""
    return height if height == width else Sides(height, width)


def sides_of(size: ImageSize) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else (size.height, size.width)


def side_of(size: ImageSize) -> int:
    """The side of square images.

    Raises:
        ValueError: They are not square.
    """
    if not isinstance(size, int):
        raise ValueError(f"{size} pixels: must be square")
    return size


def aspect_of(size: ImageSize) -> float:
    """Width over height."""
    height, width = sides_of(size)
    return width / height


def size_of_text(flag: str, text: str) -> ImageSize:
    """The size in ``320`` or ``320x512``, which is height x width.

    Raises:
        UsageError: The text is neither.
    """
    match = re.fullmatch(r"([+-]?\d{1,99})(?:x(\d{1,99}))?", text, re.ASCII)
    require(match is not None, flag, text or "''", _SIZE_FORM)
    height, width = match.groups() if match is not None else ("0", None)
    return size_of_sides(int(height), int(height if width is None else width))


def check_size(flag: str, size: ImageSize) -> None:
    """Checks that both sides of images are possible.

    Raises:
        UsageError: One is not.
    """
    require(all(0 < side <= LARGEST_IMAGE_SIZE for side in sides_of(size)), flag, size, _ALLOWED)


def text_of_size(size: ImageSize | None) -> int | str | None:
    """The inverse of ``size_of_text``; a number stays one."""
    return str(size) if isinstance(size, Sides) else size


def size_of_json(value: int | list[int] | None) -> ImageSize | None:
    """The size that JSON holds as a number or as a list of height and width; None without one."""
    return size_of_sides(*value) if isinstance(value, list | tuple) else value


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
    if train_image_size is not None:
        check_size("train_image_size", train_image_size)
    if not progressive:
        return
    text = text_of_train_sizes(progressive)
    if train_image_size is not None:
        raise UsageError(f"--{PROGRESSIVE} {text}: contradicts --train_image_size {train_image_size}; leave one out")
    for size, _ in progressive:
        require(0 < size <= LARGEST_IMAGE_SIZE, PROGRESSIVE, text, f"sizes of {_ALLOWED}, and {size} is not")
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
