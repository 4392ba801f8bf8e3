"""Decoding of an image to find its faults, its size and a thumbnail of 256 grey pixels (no TF)."""

from __future__ import annotations

import hashlib
import io
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from utils.images.image_files import FORMATS, orientation_of, reaches_end_of_jpeg, verify_png

THUMB_SIDE = 16
DIGEST_BYTES = 16
_DRAFT_SIDE = 4 * THUMB_SIDE  # smallest side that a JPEG is decoded to
_IN_RECORDS = ("JPEG", "MPO", "PNG", "GIF")  # the formats that ``utils.image_processing.decode_full`` decodes


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


def decode_image(data: bytes, *, as_record: bool) -> DecodedImage:
    """Decodes an image and notes its faults.

    Decodes a JPEG at a fraction of its size: this still reads all coefficients, so damage shows just as well.

    Args:
        data: The bytes of the image.
        as_record: Whether training reads these bytes as they are; otherwise they go through the converter, which
            repairs more.
    """
    digest = hashlib.sha256(data).digest()[:DIGEST_BYTES]
    if not data:
        return DecodedImage(digest, notes=(("image_unreadable", "is empty"),))
    try:
        return _decoded(data, digest, as_record)
    except UnidentifiedImageError:
        fault = "is not an image of a known kind"
    except Exception as error:  # Pillow's decoders raise errors of any type on damaged data
        fault = f"does not decode ({error or type(error).__name__})"
    return DecodedImage(digest, notes=(("image_unreadable", fault),))


def _decoded(data: bytes, digest: bytes, as_record: bool) -> DecodedImage:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        kind, mode, (width, height) = str(image.format), image.mode, image.size
        if kind == "PNG":
            verify_png(data)
        if as_record and kind not in _IN_RECORDS:
            return DecodedImage(
                digest, notes=(("image_unreadable", f"is a {kind} file; records cannot hold that format"),)
            )
        if as_record and kind in ("JPEG", "MPO") and not reaches_end_of_jpeg(data):
            return DecodedImage(digest, notes=(("image_unreadable", "ends early: its end marker is missing"),))
        drafted = image.draft("L", (_DRAFT_SIDE, _DRAFT_SIDE)) if mode in ("RGB", "L") else None
        box = (0, 0, width, height) if drafted is None else drafted[1]  # without the padding of the last blocks
        image.load()
        thumb = image.convert("L").resize((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BOX, box=box).tobytes()
        orientation = orientation_of(image)
    notes = _notes(orientation, mode) if as_record else []
    return DecodedImage(digest, thumb, height, width, orientation, tuple(notes))


def _notes(orientation: int, mode: str) -> list[tuple[str, str]]:
    notes = []
    if orientation != 1:
        notes.append(("image_turned", f"its EXIF orientation {orientation} has no effect in records"))
    if mode == "CMYK":
        notes.append(("image_cmyk", "has the colors of printers (CMYK); records should hold RGB"))
    return notes
