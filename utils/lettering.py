"""Letters in pictures: any name on one line, in what the font has and as long as there is room (no TF)."""

from __future__ import annotations

import unicodedata

from PIL import ImageFont

LONGEST_NAME = 100


class Lettering:
    """Pillow's own font in one size.

    Args:
        size_px: Of the letters.
    """

    def __init__(self, size_px: int) -> None:
        self.font = ImageFont.load_default(size_px)
        self._unknown = bytes(self.font.getmask("\uffff"))  # what the font draws for what it does not have
        ascent, descent = self.font.getmetrics()  # type: ignore[union-attr]  # Pillow has FreeType
        self.height = ascent + descent
        self.margin = max(1, ascent // 6)

    def length(self, text: str) -> float:
        """The width of a text in pixels."""
        return self.font.getlength(text)

    def readable(self, name: str) -> str:
        """A name on one line in what the font has: letters without their accents if need be, else question marks."""
        letters = []
        for letter in " ".join(name[:LONGEST_NAME].split()):
            base = unicodedata.normalize("NFKD", letter)[0]
            letters.append(next((c for c in (letter, base) if self._has(c)), "?"))
        return "".join(letters)

    def _has(self, letter: str) -> bool:
        if not letter.isprintable():
            return False
        return letter == " " or bytes(self.font.getmask(letter)) != self._unknown

    def fitting(self, name: str, width: float, end: str = "") -> str:
        """As much of a readable name as there is room for, and the end; the end alone, or nothing."""
        for length in range(len(name), 0, -1):
            text = name[:length].rstrip() + ("…" if length < len(name) else "") + end
            if self.length(text) <= width:
                return text
        end = end.strip()
        return end if self.length(end) <= width else ""
