"""Sheets of pictures side by side, each with its caption (no TF)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from utils.images.lettering import Lettering

_WIDTH_PX = 1970  # of a sheet, about
_GAP_PX = 12
_LETTERS_PX, _TITLE_PX = 15, 20
_CAPTION_LINES = 2
_GROUND, _INK, _FAULT = (250, 250, 250), (31, 41, 51), (200, 0, 0)


class Cell(NamedTuple):
    """A picture of a sheet.

    Attributes:
        picture: In RGB, at most as wide and high as the sheet's cells.
        lines: Two at most, for below it; what is too long is cut.
        fault: Whether something is wrong with it, which the caption says.
    """

    picture: Image.Image
    lines: tuple[str, ...]
    fault: bool = False


class Sheet(NamedTuple):
    """A contact sheet.

    Attributes:
        image: The whole.
        places: Left, top, width and height of each picture in it, in pixels.
    """

    image: Image.Image
    places: list[tuple[int, int, int, int]]


def display_side(image_side: int, least: int, most: int) -> int:
    """The side at which square images are shown: a multiple of their own, so that pixels stay squares, or ``most``."""
    factor = max(1, -(-least // image_side))
    return min(image_side * factor, most)


def fitted(image: Image.Image, side: int) -> Image.Image:
    """A copy in RGB, in its own proportions, whose longer side is ``side``, or close to it where that is longer."""
    longest = max(image.size)
    factor = side // longest if longest < side else side / longest
    size = tuple(max(1, round(length * factor)) for length in image.size)
    how = Image.Resampling.NEAREST if longest < side else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((size[0], size[1]), how)


def contact_sheet(title: str, cells: Sequence[Cell], side: int) -> Sheet:
    """A sheet of pictures in rows, in their order.

    Args:
        title: Above them.
        cells: One or more.
        side: Width and height in pixels that each picture gets.
    """
    letters, headline = Lettering(_LETTERS_PX), Lettering(_TITLE_PX)
    columns = max(1, min(len(cells), _WIDTH_PX // (side + _GAP_PX)))
    rows = -(-len(cells) // columns)
    step = (side + _GAP_PX, side + _GAP_PX + _CAPTION_LINES * letters.height_px)
    top = 2 * _GAP_PX + headline.height_px
    width = _GAP_PX + columns * step[0]
    sheet = Image.new("RGB", (width, top + rows * step[1]), _GROUND)
    draw = ImageDraw.Draw(sheet)
    shown = headline.fitting(headline.readable(title), width - 2 * _GAP_PX)
    draw.text((_GAP_PX, _GAP_PX), shown, fill=_INK, font=headline.font)
    places = []
    for number, cell in enumerate(cells):
        left, upper = _GAP_PX + number % columns * step[0], top + number // columns * step[1]
        sheet.paste(cell.picture, (left, upper))
        places.append((left, upper, *cell.picture.size))
        ink = _FAULT if cell.fault else _INK
        if cell.fault:
            draw.rectangle((left - 3, upper - 3, left + side + 2, upper + side + 2), outline=_FAULT, width=3)
        for line, text in enumerate(cell.lines[:_CAPTION_LINES]):
            written = letters.fitting(letters.readable(text), side)
            draw.text((left, upper + side + 1 + line * letters.height_px), written, fill=ink, font=letters.font)
    return Sheet(sheet, places)
