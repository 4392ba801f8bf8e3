"""Images as records hold them: those that TensorFlow decodes, and the faults of others (no TF)."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

from utils.images.image_files import FORMATS, reaches_end_of_jpeg, verify_png

_KINDS = ("JPEG", "MPO", "PNG", "GIF")  # the formats that ``utils.image_processing.decode_full`` decodes


class UnfitImageError(Exception):
    """An image that TensorFlow does not decode, though Pillow may."""


def check_stored_image(image: Image.Image, data: bytes) -> None:
    """Checks what Pillow reads and TensorFlow does not.

    Args:
        image: The image, opened and not yet decoded.
        data: Its bytes.

    Raises:
        UnfitImageError: TensorFlow does not decode it.
        Exception: A part of it is damaged; Pillow raises errors of any type.
    """
    if image.format not in _KINDS:
        raise UnfitImageError(f"is a {image.format} file; records cannot hold that format")
    if image.format == "PNG":
        verify_png(data)
    if image.format in ("JPEG", "MPO") and not reaches_end_of_jpeg(data):
        raise UnfitImageError("ends early: its end marker is missing")
    if image.format == "GIF" and getattr(image, "n_frames", 1) > 1:
        raise UnfitImageError("is a GIF with several pictures; records hold one")


def fault_of_stored_image(data: bytes) -> str:
    """Describes why TensorFlow does not decode the image of a record; empty if it does, as far as Pillow can tell."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_stored_image(image, data)
            image.load()
    except Exception as error:  # Pillow's decoders raise errors of any type on damaged data
        return stored_image_fault(data, error)
    return ""


def stored_image_fault(data: bytes, error: Exception) -> str:
    """The fault of a record whose image could not be opened or decoded because of an error."""
    if not data:
        fault = "is empty"
    elif isinstance(error, UnfitImageError):
        fault = str(error)
    elif isinstance(error, UnidentifiedImageError):
        fault = "is not an image of a known kind"
    else:
        fault = str(error) or type(error).__name__
    return f"the image does not decode: {fault}"
