"""Names written into pictures, limited to the characters of the font and the available width (no TF)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import cast

from PIL import Image, ImageDraw, ImageFont

RIGHT, WRONG, MISSED = (34, 197, 94), (239, 68, 68), (245, 158, 11)
"""Colors of the outcome for an example or a box, as in reports."""
_LONGEST_NAME = 100
_CAPTION_PX = 14
_NARROWEST_PX = 160


class Lettering:
    """A font of one size that fits names into a given width.

    Args:
        size_px: Height of the letters.
    """

    def __init__(self, size_px: int) -> None:
        self.font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(size_px))  # Pillow's own, of any size
        self._unknown = bytes(self.font.getmask("\uffff"))  # the font's glyph for missing characters

    @property
    def height_px(self) -> int:
        """Distance from the top of the highest letter to the bottom of the lowest."""
        ascent, descent = self.font.getmetrics()
        return ascent + descent

    @property
    def margin_px(self) -> int:
        """Space to leave around letters of this size."""
        ascent, _ = self.font.getmetrics()
        return max(1, ascent // 6)

    def length_px(self, text: str) -> float:
        return self.font.getlength(text)

    def readable(self, name: str) -> str:
        """A name on one line in characters of the font; others lose their accents or become question marks."""
        letters = []
        for letter in " ".join(name[:_LONGEST_NAME].split()):
            base = unicodedata.normalize("NFKD", letter)[0]
            letters.append(next((c for c in (letter, base) if self._has(c)), "?"))
        return "".join(letters)

    def _has(self, letter: str) -> bool:
        if not letter.isprintable():
            return False
        return letter == " " or bytes(self.font.getmask(letter)) != self._unknown

    def fitting(self, name: str, width_px: float, end: str = "") -> str:
        """As much of a readable name as fits with ``end``; the end alone, or nothing, if even that does not fit."""
        for length in range(len(name), 0, -1):
            text = name[:length].rstrip() + ("…" if length < len(name) else "") + end
            if self.length_px(text) <= width_px:
                return text
        end = end.strip()
        return end if self.length_px(end) <= width_px else ""


def with_caption(image: Image.Image, lines: Sequence[tuple[str, str]], color: tuple[int, int, int]) -> Image.Image:
    """An RGB copy of a picture with lines of text below it on a colored background.

    Args:
        image: Any mode and size; small images are enlarged pixel by pixel.
        lines: Pairs of a name, shortened if it does not fit, and an end that is kept whole.
        color: Color of the background.
    """
    picture = image.convert("RGB")
    factor = -(-_NARROWEST_PX // picture.width)
    if factor > 1:
        picture = picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)
    letters = Lettering(_CAPTION_PX)
    margin, line_px = letters.margin_px, letters.height_px + letters.margin_px
    whole = Image.new("RGB", (picture.width, picture.height + margin + line_px * len(lines)), color)
    whole.paste(picture, (0, 0))
    draw = ImageDraw.Draw(whole)
    for row, (name, end) in enumerate(lines):
        text = letters.fitting(letters.readable(name), picture.width - 2 * margin, end)
        draw.text((margin, picture.height + margin + row * line_px), text, fill=(0, 0, 0), font=letters.font)
    return whole
