"""Tiles that cover a picture and overlap (no TF)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

MOST_TILES = 10_000
"""Most tiles of a picture; more would take hours and be a slip of a flag."""


class Tile(NamedTuple):
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of ``side`` pixels, of which neighbors share at least ``overlap``, a fraction in [0, 1) of a side."""

    side: int
    overlap: float

    def count(self, height: int, width: int) -> int:
        """Returns the number of tiles of a picture."""
        return self._along(height) * self._along(width)

    def tiles(self, height: int, width: int) -> list[Tile]:
        """Returns the tiles of a picture, row by row, spread evenly.

        A tile ends where the picture does, so a picture that is smaller than a tile is one tile.
        """
        return [
            Tile(top, left, min(self.side, height), min(self.side, width))
            for top in self._starts(height)
            for left in self._starts(width)
        ]

    def _along(self, length: int) -> int:
        step = max(math.floor(self.side * (1.0 - self.overlap)), 1)
        return 1 + max(-(-(length - self.side) // step), 0)

    def _starts(self, length: int) -> list[int]:
        last, gaps = max(length - self.side, 0), self._along(length) - 1
        return [number * last // gaps for number in range(gaps + 1)] if gaps else [0]
