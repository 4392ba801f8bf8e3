"""Image files of any common kind as bytes that TensorFlow decodes to upright 8-bit RGB (no TF).

``tf.io.decode_jpeg`` and ``decode_png`` with ``channels=3`` read plain JPEG and PNG well. They know no other format, do
not turn a photograph as its EXIF orientation says, and read CMYK in their own way; such images are decoded here and
written anew. What needs no change passes through byte for byte.
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

# Formats that Pillow itself decodes, the frequent ones first. EPS is left out since it starts another program, and TGA
# since it has no signature, so that text can pass for it.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "JPEG2000")
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2")
)
"""Suffixes of the files that count as images in a folder; a file that is named itself is always tried."""
_JPEG_FORMATS = ("JPEG", "MPO")  # MPO: a JPEG with more pictures behind it, as some cameras write; the first one counts
_EXIF_ORIENTATION = 0x0112
_JPEG_QUALITY = 100

# What brings an image with this EXIF orientation upright; 1 is upright already. Source: EXIF 2.32, tag Orientation.
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
    """An image that TensorFlow reads as upright RGB; ``orientation`` is the EXIF orientation that was undone."""

    data: bytes
    format: str
    height: int
    width: int
    orientation: int = 1


class UnreadableImage(Exception):  # noqa: N818  (it reads as what it is: the image is at fault)
    """The file cannot be read, is no image of a known kind, is damaged, or has pixels of no known range."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def has_image_name(name: str) -> bool:
    """Return whether a file of this name counts as an image in a folder."""
    return _suffix(name) in IMAGE_SUFFIXES


def kind_of_file(name: str) -> str:
    """The kind under which a file that is passed over is counted: its suffix, or its name where it has none."""
    return printable(_suffix(name) or name)


def passed_over(counts: Mapping[str, int]) -> str:
    """The sentence about files whose names are not those of images, by ``kind_of_file``."""
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    return f"passed over {plural(sum(counts.values()), 'file')}, not being images by their names: {listed}"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  (a name, which may be no path)


def load_rgb(source: str | os.PathLike[str] | bytes, name: str | None = None) -> EncodedImage:
    """Reads an image file, or the bytes of one, and decodes it in full to prove that it decodes.

    Args:
        source: A path, or the bytes of a file.
        name: What errors call the image; the path by default.

    Returns:
        JPEG bytes for a JPEG, else PNG bytes, whatever the file's name says. Transparency is dropped and 16-bit values
        keep their upper 8 bits.

    Raises:
        UnreadableImage: the reason is in words.
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
    """Pixels that have no agreed range to bring to 8 bits."""


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
    upright.info.clear()  # else the old color profile would be written beside the new pixels
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
    """Checks the chunks' checksums, which decoding with Pillow does not and TensorFlow insists on."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.verify()


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where it is absent or makes no sense."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF data beside a sound picture; Pillow raises errors of any type on it
        return 1
    return value if value in _UPRIGHT else 1


def _is_plain_jpeg(image: Image.Image, data: bytes) -> bool:
    return image.mode in ("L", "RGB") and reaches_end_of_jpeg(data)


def reaches_end_of_jpeg(data: bytes) -> bool:
    """Return whether the markers lead to the end marker; without it Pillow may decode what TensorFlow refuses."""
    position = 2
    while (found := _NEXT_JPEG_MARKER.search(data, position)) is not None:
        marker, position = data[found.start() + 1], found.end()
        if marker == 0xD9:
            return True
        position += int.from_bytes(data[position : position + 2], "big")
    return False


def _is_plain_png(image: Image.Image, data: bytes) -> bool:
    bit_depth, color_type = data[24], data[25]  # of the header chunk, which comes first in every PNG
    return image.format == "PNG" and bit_depth == 8 and color_type in (0, 2)


def _rgb(image: Image.Image) -> Image.Image:
    """The pixels as 8-bit RGB, without transparency."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise _OddPixelsError("has 32-bit pixels, whose range is not known; save it with 8 or 16 bits")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image.convert("RGB")
