"""Sizes of training images that follow another ``--image_size`` with ``--scale_recipe``. Imports no TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Sequence

from utils.flags.recipes import RecipeArgument, origin_of

MULTIPLE = 8
"""Sizes are rounded to the nearest multiple of this many pixels, at least one."""
_IMAGE_SIZE, _SCALE_RECIPE = "--image_size", "--scale_recipe"
_TRAIN_SIZES = ("--train_image_size", "--progressive_sizes")
_SIZE = r"(?<![\d.:])\d{1,5}(?![\d.])"
"""A size in the value of one of these flags, but not the share of a run."""


def follow_image_size(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Scales the sizes of training images that a recipe gives for one image size, if a later one follows.

    A size belongs to the ``--image_size`` before it. So what is given after the last one stays as it is.

    Args:
        arguments: Completed arguments, ``--name=value`` each.

    Returns:
        The arguments and a sentence about each change. Values that are no sizes are left for the parser to refuse.
    """
    changed = [*arguments]
    if _SCALE_RECIPE not in arguments:
        return changed, ()
    owners: dict[str, tuple[int, str]] = {}  # by flag: its place and the image size that it belongs to
    side = ""
    for place, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == _IMAGE_SIZE:
            side = value
        elif name in _TRAIN_SIZES:
            owners[name] = place, side
    notes = []
    for name, (place, own) in owners.items():
        if own != side and _is_size(own) and _is_size(side):
            before = arguments[place].partition("=")[2]
            after = _scaled(before, int(side) / int(own))
            origin = origin_of(arguments[place])
            text = f"{name}={after}"
            changed[place] = RecipeArgument(text, origin) if origin else text
            notes.append(
                f"{_SCALE_RECIPE}: {name} {after} instead of {before}, because {_IMAGE_SIZE} is {side} instead of {own}"
            )
    return changed, tuple(notes)


def _is_size(text: str) -> bool:
    return re.fullmatch(r"[1-9]\d{0,4}", text, re.ASCII) is not None


def _scaled(sizes: str, factor: float) -> str:
    def scale(size: re.Match[str]) -> str:
        return str(max(int(int(size[0]) * factor / MULTIPLE + 0.5), 1) * MULTIPLE)

    return re.sub(_SIZE, scale, sizes, flags=re.ASCII)
