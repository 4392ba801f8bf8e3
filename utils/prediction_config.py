"""Views of trained networks: tiles of large pictures, mirror images, frames of videos (no TF)."""

from __future__ import annotations

from dataclasses import dataclass

from utils.errors import UsageError, require
from utils.image_sizes import LARGEST_IMAGE_SIZE
from utils.images.tiles import Tiling

SMALLEST_TILE = 32
DEFAULT_OVERLAP = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionConfig:
    """Ways to look at images, all off by default.

    Attributes:
        tiles: Side in pixels of the overlapping tiles that a picture is cut into; None looks at the whole picture.
        tile_overlap: Least share of a tile's side that it has in common with the next one; None for the default.
        test_time_augmentation: Look at each image and at its mirror image, and merge what is found.
        draw_frames: Draw pictures of the frames of videos; those of images are drawn anyway.

    Raises:
        UsageError: A value is out of range, or has no use.
    """

    tiles: int | None = None
    tile_overlap: float | None = None
    test_time_augmentation: bool = False
    draw_frames: bool = False

    def __post_init__(self) -> None:
        side, overlap = self.tiles, self.tile_overlap
        if side is not None:
            allowed = f"{SMALLEST_TILE} to {LARGEST_IMAGE_SIZE} pixels"
            require(SMALLEST_TILE <= side <= LARGEST_IMAGE_SIZE, "tiles", side, allowed)
        if overlap is None:
            return
        require(0.0 <= overlap < 1.0, "tile_overlap", f"{overlap:g}", "at least 0 and below 1, the share of a side")
        if side is None:
            raise UsageError(f"--tile_overlap {overlap:g}: only used with --tiles, which is not given")

    @property
    def tiling(self) -> Tiling | None:
        """The tiles that a picture is cut into, or None."""
        if self.tiles is None:
            return None
        return Tiling(self.tiles, DEFAULT_OVERLAP if self.tile_overlap is None else self.tile_overlap)
