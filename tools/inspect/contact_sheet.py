"""Sheets of pictures side by side, each with its caption (no TF)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from utils.images.lettering import Lettering

_WIDTH_PX = 1970  # approximate width of a sheet
_GAP_PX = 12
_LETTERS_PX, _TITLE_PX = 15, 20
_CAPTION_LINES = 2
_GROUND, _INK, _FAULT = (250, 250, 250), (31, 41, 51), (200, 0, 0)


class Cell(NamedTuple):
    """A picture of a sheet.

    Attributes:
        picture: The picture in RGB, at most as wide and high as the sheet's cells.
        lines: At most two lines to write below it; long lines are cut.
        fault: Whether the picture has a fault, which the caption names.
    """

    picture: Image.Image
    lines: tuple[str, ...]
    fault: bool = False


class Sheet(NamedTuple):
    """A contact sheet.

    Attributes:
        image: The whole sheet.
        places: Left, top, width and height of each picture, in pixels.
    """

    image: Image.Image
    places: list[tuple[int, int, int, int]]


def display_side(image_side: int, least: int, most: int) -> int:
    """The display side of square images: a multiple of their own, so that pixels stay square, or ``most``."""
    factor = max(1, -(-least // image_side))
    return min(image_side * factor, most)


def fitted(image: Image.Image, side: int) -> Image.Image:
    """An RGB copy with the same aspect ratio; the longer side is ``side``, or slightly less when enlarged."""
    longest = max(image.size)
    factor = side // longest if longest < side else side / longest
    size = tuple(max(1, round(length * factor)) for length in image.size)
    how = Image.Resampling.NEAREST if longest < side else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((size[0], size[1]), how)


def contact_sheet(title: str, cells: Sequence[Cell], side: int) -> Sheet:
    """Draws a sheet of pictures in rows, in order.

    Args:
        title: The line above the pictures.
        cells: The pictures; at least one.
        side: Width and height of each cell in pixels.
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
