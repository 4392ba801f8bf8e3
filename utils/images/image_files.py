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

import numpy as np
from PIL import Image, UnidentifiedImageError

from utils.files.regular_file import open_regular, read_regular
from utils.text import first_few, plural, printable

# Formats that Pillow itself decodes, the most frequent first. EPS is left out because it starts another program, and
# TGA because it has no signature, so text can pass for it.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "JPEG2000")
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2")
)
"""Suffixes of the files that count as images in a folder; a file named explicitly is always tried."""
MOST_IMAGE_BYTES = 1 << 30
_JPEG_FORMATS = ("JPEG", "MPO")  # MPO: a JPEG followed by more pictures, from some cameras; the first one counts
_EXIF_ORIENTATION = 0x0112
_JPEG_QUALITY = 100
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2)  # markers of the frames that decoders read; each begins with depth, height and width
_JPEG_SCAN, _JPEG_APP1 = 0xDA, 0xE1
_FIRST_BYTES = 4096
_PNG_DEPTH, _PNG_COLOR_TYPE = 24, 25  # bytes of the header chunk, which comes first in every PNG
_KINDS_NAMED = 10
FAINT_PIXELS = "with 16-bit pixels below 4,096, as of 12-bit data, which are all but black in 8 bits"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

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
    """An image that TensorFlow decodes to upright RGB.

    ``orientation`` is the original's EXIF orientation; ``remark`` tells what its pixels lose in 8 bits, or is empty.
    """

    data: bytes
    format: str
    height: int
    width: int
    orientation: int = 1
    remark: str = ""


class UnreadableImage(Exception):  # noqa: N818  (named for its cause: the image)
    """An image file that cannot be read, has an unknown format, is damaged, or has pixels of unknown range."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def has_image_name(name: str) -> bool:
    """Returns whether a file of this name counts as an image in a folder; hidden files (``._1.jpg``) do not."""
    return not name.startswith(".") and _suffix(name) in IMAGE_SUFFIXES


def kind_of_file(name: str) -> str:
    """The kind under which a skipped file is counted: hidden, its suffix, or its name if it has none."""
    return "hidden" if name.startswith(".") else printable(_suffix(name) or name)


def passed_over(counts: Mapping[str, int]) -> str:
    """A sentence about the files skipped for their names; ``counts`` are by ``kind_of_file``."""
    listed = first_few([f"{count} {kind}" for kind, count in sorted(counts.items())], _KINDS_NAMED)
    return f"skipped {plural(sum(counts.values()), 'file')} without the name of an image: {listed}"


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
            data = read_regular(source, most=MOST_IMAGE_BYTES)
        except OSError as error:
            raise UnreadableImage(name, f"cannot be read ({error.strerror})") from error
    if not data:
        raise UnreadableImage(name, "is empty")
    try:
        return _encode(data)
    except OddPixelsError as error:
        raise UnreadableImage(name, str(error)) from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(name, "is not an image of a known kind") from error
    except Exception as error:  # Pillow's decoders raise errors of any type on damaged data
        raise UnreadableImage(name, f"does not decode ({error or type(error).__name__})") from error


class OddPixelsError(Exception):
    """An image whose pixels cannot be converted to 8 bits: their range is unknown, or nothing would be left."""


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
        remark = remark_on_depth(image, data)
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
        remark=remark,
    )


def verify_png(data: bytes) -> None:
    """Verifies the checksums of the chunks and the last chunk, which TensorFlow requires and Pillow does not.

    Raises:
        OSError: The last chunk is missing or damaged.
        Exception: Another chunk is; Pillow raises errors of any type.
    """
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.verify()
    if _PNG_END not in data:
        raise OSError("its last chunk is missing or damaged")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or invalid."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF data with a sound picture; Pillow raises errors of any type on it
        return 1
    return value if value in _UPRIGHT else 1


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The size of an image as stored, in pixels, and its EXIF orientation."""

    height: int
    width: int
    orientation: int


def read_header(path: str | os.PathLike[str]) -> ImageHeader | None:
    """Reads size and orientation of an image file; None if it is no image.

    Pillow turns TIFF files upright itself, so they have the orientation 1.
    """
    try:
        with open_regular(path) as file:
            plain = _plain_jpeg_header(file.read(_FIRST_BYTES))
        if plain is not None:
            return plain
        with Image.open(path, formats=FORMATS) as image:
            is_upright = image.format == "TIFF" or (image.format == "PNG" and not _has_metadata_chunk(path))
            return ImageHeader(image.height, image.width, 1 if is_upright else orientation_of(image))
    except Exception:  # Pillow's decoders raise errors of any type on damaged data, which the conversion names later
        return None


def _plain_jpeg_header(start: bytes) -> ImageHeader | None:
    """The header of a JPEG without EXIF or XMP data, from its first bytes: in a fifth of Pillow's time. Else None."""
    position, size = 2, b""
    while start.startswith(b"\xff\xd8") and position + 9 <= len(start):
        marker = start[position + 1]
        if start[position] != 0xFF or marker in (0xFF, _JPEG_APP1):
            return None
        if marker == _JPEG_SCAN:
            height, width = int.from_bytes(size[:2], "big"), int.from_bytes(size[2:], "big")
            return ImageHeader(height, width, 1) if height and width else None
        if marker in _JPEG_FRAMES:
            size = start[position + 5 : position + 9]
        position += 2 + int.from_bytes(start[position + 2 : position + 4], "big")
    return None


def _has_metadata_chunk(path: str | os.PathLike[str]) -> bool:
    """Returns whether a PNG has EXIF data, or text that may hold such data; Pillow decodes the image to find out."""
    with open_regular(path) as file:
        position = 8
        while True:
            file.seek(position)
            head = file.read(8)
            if len(head) < 8 or head[4:] in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return len(head) == 8
            position += 12 + int.from_bytes(head[:4], "big")


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
    return image.format == "PNG" and data[_PNG_DEPTH] == 8 and data[_PNG_COLOR_TYPE] in (0, 2)


def remark_on_depth(image: Image.Image, data: bytes) -> str:
    """A remark on 16-bit pixels whose upper 8 bits are all but black, such as those of 12-bit data; or empty.

    Raises:
        OddPixelsError: The pixels have no defined range, or nothing is left of them.
    """
    if image.mode in ("I", "F") and image.format != "PPM":
        raise OddPixelsError("has 32-bit pixels, whose range is unknown; save it with 8 or 16 bits")
    if not (_is_16_bit(image) or (image.format == "PNG" and data[_PNG_DEPTH] == 16)):
        return ""
    is_whole = _is_16_bit(image)  # of colors and transparency, Pillow itself keeps the upper 8 bits
    brightest = int(np.asarray(image if is_whole else image.convert("RGB")).max())
    if not is_whole:
        brightest = brightest << 8 | 0xFF
    elif 0 < brightest < 0x100:
        raise OddPixelsError(f"has 16-bit pixels of at most {brightest}, of which 8 bits keep nothing; save it with 8")
    return FAINT_PIXELS if 0 < brightest < 0x1000 else ""


def _is_16_bit(image: Image.Image) -> bool:
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


def _rgb(image: Image.Image) -> Image.Image:
    """The pixels as 8-bit RGB, without transparency."""
    if _is_16_bit(image):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image.convert("RGB")
