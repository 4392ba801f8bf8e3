"""Conversion of common image files to bytes that TensorFlow decodes to upright 8-bit RGB (no TF).

``tf.io.decode_jpeg`` and ``decode_png`` with ``channels=3`` read plain JPEG and PNG well. They know no other format,
ignore the EXIF orientation, and read CMYK in their own way; such images are decoded and encoded again here. Files that
need no change pass through byte for byte.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from utils.text import plural, printable

# Formats that Pillow itself decodes, the most frequent first. EPS is left out because it starts another program, and
# TGA because it has no signature, so text can pass for it.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "JPEG2000")
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2")
)
"""Suffixes of the files that count as images in a folder; a file named explicitly is always tried."""
_JPEG_FORMATS = ("JPEG", "MPO")  # MPO: a JPEG followed by more pictures, from some cameras; the first one counts
_EXIF_ORIENTATION = 0x0112
_JPEG_QUALITY = 100

# The transposition that turns an image of each EXIF orientation upright; 1 already is. Source: EXIF 2.32, Orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_NEXT_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in coded data, FF00 is a byte and FFD0..7 are restarts


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedImage:
    """An image that TensorFlow decodes to upright RGB; ``orientation`` is the original's EXIF orientation."""

    data: bytes
    format: str
    height: int
    width: int
    orientation: int = 1


class UnreadableImage(Exception):  # noqa: N818  (named for its cause: the image)
    """An image file that cannot be read, has an unknown format, is damaged, or has pixels of unknown range."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def has_image_name(name: str) -> bool:
    """Returns whether a file of this name counts as an image in a folder."""
    return _suffix(name) in IMAGE_SUFFIXES


def kind_of_file(name: str) -> str:
    """The kind under which a skipped file is counted: its suffix, or its name if it has none."""
    return printable(_suffix(name) or name)


def passed_over(counts: Mapping[str, int]) -> str:
    """A sentence about the files skipped for their names; ``counts`` are by ``kind_of_file``."""
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    return f"skipped {plural(sum(counts.values()), 'file')} without an image suffix: {listed}"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  (a name, which may be no path)


def load_rgb(source: str | os.PathLike[str] | bytes, name: str | None = None) -> EncodedImage:
    """Reads an image file, or the bytes of one, and decodes it fully to check that it is sound.

    Args:
        source: A path, or the bytes of a file.
        name: The image's name in errors; the path by default.

    Returns:
        JPEG bytes for a JPEG, else PNG bytes, whatever the suffix. Transparency is dropped and 16-bit values keep their
        upper 8 bits.

    Raises:
        UnreadableImage: The image cannot be converted; the exception states the reason.
    """
    if isinstance(source, bytes):
        data, name = source, name or "<bytes>"
    else:
        name = name or os.fspath(source)
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise UnreadableImage(name, f"cannot be read ({error.strerror})") from error
    if not data:
        raise UnreadableImage(name, "is empty")
    try:
        return _encode(data)
    except _OddPixelsError as error:
        raise UnreadableImage(name, str(error)) from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(name, "is not an image of a known kind") from error
    except Exception as error:  # Pillow's decoders raise errors of any type on damaged data
        raise UnreadableImage(name, f"does not decode ({error or type(error).__name__})") from error


class _OddPixelsError(Exception):
    """An image whose pixels have no defined range, so they cannot be converted to 8 bits."""


def _encode(data: bytes) -> EncodedImage:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.format == "PNG":
            verify_png(data)
        is_jpeg = image.format in _JPEG_FORMATS
        image.load()
        orientation = orientation_of(image)
        plain = _is_plain_jpeg(image, data) if is_jpeg else _is_plain_png(image, data)
        if plain and orientation == 1:
            kind = "JPEG" if is_jpeg else "PNG"
            return EncodedImage(data=data, format=kind, height=image.height, width=image.width)
        upright = _rgb(image)
        if orientation != 1:
            upright = upright.transpose(_UPRIGHT[orientation])
    upright.info.clear()  # otherwise the old color profile would be stored with the new pixels
    buffer = io.BytesIO()
    if is_jpeg:
        upright.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    else:
        upright.save(buffer, "PNG")
    return EncodedImage(
        data=buffer.getvalue(),
        format="JPEG" if is_jpeg else "PNG",
        height=upright.height,
        width=upright.width,
        orientation=orientation,
    )


def verify_png(data: bytes) -> None:
    """Verifies the checksums of the chunks: TensorFlow requires them, but decoding with Pillow ignores them."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.verify()


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or invalid."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF data with a sound picture; Pillow raises errors of any type on it
        return 1
    return value if value in _UPRIGHT else 1


def _is_plain_jpeg(image: Image.Image, data: bytes) -> bool:
    return image.mode in ("L", "RGB") and reaches_end_of_jpeg(data)


def reaches_end_of_jpeg(data: bytes) -> bool:
    """Returns whether a JPEG has an end marker; without one, Pillow may decode a file that TensorFlow rejects."""
    position = 2
    while (found := _NEXT_JPEG_MARKER.search(data, position)) is not None:
        marker, position = data[found.start() + 1], found.end()
        if marker == 0xD9:
            return True
        position += int.from_bytes(data[position : position + 2], "big")
    return False


def _is_plain_png(image: Image.Image, data: bytes) -> bool:
    bit_depth, color_type = data[24], data[25]  # from the header chunk, which comes first in every PNG
    return image.format == "PNG" and bit_depth == 8 and color_type in (0, 2)


def _rgb(image: Image.Image) -> Image.Image:
    """The pixels as 8-bit RGB, without transparency."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise _OddPixelsError("has 32-bit pixels, whose range is unknown; save it with 8 or 16 bits")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image.convert("RGB")
