"""The pixels that boxes of an image were drawn on, and the way from there to the upright image (no TF)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from object_detection.records.box_rules import Box
from utils.images.image_files import EncodedImage, ImageHeader

if TYPE_CHECKING:
    from object_detection.coco.annotations import CocoImage

TURNED = 5
"""From this EXIF orientation on, height and width are swapped."""
AUTO, UPRIGHT, STORED = "auto", "upright", "stored"
"""Pictures that boxes may be drawn on, where EXIF turns an image."""
READ_AS_STORED = f"turned by EXIF with boxes that are read as drawn on the {STORED} picture, though nothing proves it"


def stored_header(image: EncodedImage) -> ImageHeader:
    """The size and orientation of an image before EXIF turned it."""
    sides = (image.width, image.height) if image.orientation >= TURNED else (image.height, image.width)
    return ImageHeader(*sides, image.orientation)


def picture_of(said: tuple[float | None, float | None], image: ImageHeader) -> str:
    """The picture whose height and width an annotation gives, if EXIF swaps the sides; else an empty text.

    The sides of ``image`` are those of the stored picture.
    """
    stored = (image.height, image.width)
    if image.orientation < TURNED or image.height == image.width:
        return ""
    return STORED if said == stored else UPRIGHT if said == stored[::-1] else ""


def turn_box(box: Box, orientation: int) -> Box:
    """The box after an image with this EXIF orientation (1 to 8) is turned upright."""
    ymin, xmin, ymax, xmax = box
    if orientation >= TURNED:  # transposed
        ymin, xmin, ymax, xmax = xmin, ymin, xmax, ymax
    if orientation in (3, 4, 7, 8):  # flipped vertically
        ymin, ymax = 1.0 - ymax, 1.0 - ymin
    if orientation in (2, 3, 6, 7):  # flipped horizontally
        xmin, xmax = 1.0 - xmax, 1.0 - xmin
    return ymin, xmin, ymax, xmax


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Size of the picture that boxes were drawn on, and the EXIF orientation that turns it upright."""

    height_px: int
    width_px: int
    orientation: int

    @classmethod
    def of(cls, image: ImageHeader, *, upright: bool) -> Self:
        """The frame of boxes that were drawn on the upright picture, or on the stored one."""
        if not upright:
            return cls(height_px=image.height, width_px=image.width, orientation=image.orientation)
        sides = (image.height, image.width)
        height, width = sides[::-1] if image.orientation >= TURNED else sides
        return cls(height_px=height, width_px=width, orientation=1)

    def differs_from(self, entry: CocoImage) -> bool:
        """Returns whether the entry of the image gives another size."""
        said = (entry.height, entry.width)
        return None not in said and said != (self.height_px, self.width_px)

    def fractions(self, box_px: Box) -> Box:
        """A box in pixels of the frame as fractions of the upright image."""
        top, left, bottom, right = box_px
        edges = (top / self.height_px, left / self.width_px, bottom / self.height_px, right / self.width_px)
        return turn_box(edges, self.orientation)
