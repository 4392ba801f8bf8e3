"""Decoding of an image to find its faults, its size and a thumbnail of 256 grey pixels (no TF)."""

from __future__ import annotations

import hashlib
import io
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from utils.images.image_files import FORMATS, OddPixelsError, orientation_of, remark_on_depth, verify_png
from utils.images.stored_images import check_stored_image, stored_image_fault

THUMB_SIDE = 16
DIGEST_BYTES = 16
_DRAFT_SIDE = 4 * THUMB_SIDE  # smallest side that a JPEG is decoded to


class DecodedImage(NamedTuple):
    """An image after decoding.

    Attributes:
        digest: The first 128 bits of the SHA-256 of its bytes.
        thumb: ``THUMB_SIDE``² grey levels, row by row; empty if the image does not decode.
        height: Stored height in pixels.
        width: Stored width in pixels.
        orientation: EXIF orientation; 1 is upright.
        notes: Kind and text of each finding.
    """

    digest: bytes
    thumb: bytes = b""
    height: int = 0
    width: int = 0
    orientation: int = 1
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def readable(self) -> bool:
        return bool(self.thumb)


def digest_of(data: bytes) -> bytes:
    """The digest of an image as in ``DecodedImage``."""
    return hashlib.sha256(data).digest()[:DIGEST_BYTES]


def decode_image(data: bytes, *, as_record: bool) -> DecodedImage:
    """Decodes an image and notes its faults.

    Decodes a JPEG at a fraction of its size: this still reads all coefficients, so damage shows just as well.

    Args:
        data: The bytes of the image.
        as_record: Whether training reads these bytes as they are; otherwise they go through the converter, which
            repairs more.
    """
    digest = digest_of(data)
    if not data and not as_record:
        return DecodedImage(digest, notes=(("image_unreadable", "is empty"),))
    try:
        return _decoded(data, digest, as_record)
    except Exception as error:  # Pillow's decoders raise errors of any type on damaged data
        fault = stored_image_fault(data, error) if as_record else _fault_of_file(error)
    return DecodedImage(digest, notes=(("image_unreadable", fault),))


def _fault_of_file(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is not an image of a known kind"
    if isinstance(error, OddPixelsError):
        return str(error)
    return f"does not decode ({error or type(error).__name__})"


def _decoded(data: bytes, digest: bytes, as_record: bool) -> DecodedImage:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        mode, (width, height) = image.mode, image.size
        if as_record:
            check_stored_image(image, data)
        elif image.format == "PNG":
            verify_png(data)
        drafted = image.draft("L", (_DRAFT_SIDE, _DRAFT_SIDE)) if mode in ("RGB", "L") else None
        box = (0, 0, width, height) if drafted is None else drafted[1]  # without the padding of the last blocks
        image.load()
        thumb = image.convert("L").resize((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BOX, box=box).tobytes()
        orientation = orientation_of(image)
        notes = _notes(orientation, mode) if as_record else []
        try:
            remark = remark_on_depth(image, data)
        except OddPixelsError as error:  # training reads such a record, as a black image
            if not as_record:
                raise
            remark = str(error)
        if remark:
            notes.append(("image_faint", remark))
    return DecodedImage(digest, thumb, height, width, orientation, tuple(notes))


def _notes(orientation: int, mode: str) -> list[tuple[str, str]]:
    notes = []
    if orientation != 1:
        notes.append(("image_turned", f"its EXIF orientation {orientation} has no effect in records"))
    if mode == "CMYK":
        notes.append(("image_cmyk", "has the colors of printers (CMYK); records should hold RGB"))
    return notes
