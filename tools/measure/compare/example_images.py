"""Encoded images of records without TensorFlow, by the few parts of the protobuf format that this needs (no TF)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from utils.errors import RunError
from utils.records.split_files import load_split
from utils.records.tfrecord_file import iterate_headers

MOST_IMAGES = 4096
"""Images for loaders that hold them in memory."""
_BYTES_KIND = 2  # protobuf wire type: a length, then as many bytes
_KEY = b"image/encoded"


def write_images(data_dir: str, folder: Path) -> None:
    """Writes the first images of the training split as files.

    Raises:
        RunError: The records are damaged or have no images.
    """
    for number, encoded in enumerate(islice(_images(data_dir), MOST_IMAGES)):
        (folder / f"{number:04}").write_bytes(encoded)


def _images(data_dir: str) -> Iterator[bytes]:
    for path in load_split(data_dir, "train").paths:
        content = Path(path).read_bytes()
        for offset, length in iterate_headers(path):
            yield _encoded_image(content[offset : offset + length])


def _encoded_image(example: bytes) -> bytes:
    """The bytes of the image in a serialized Example: features (1), feature (1), key (1) and value (2), list (1)."""
    for features in _fields(example, 1):
        for entry in _fields(features, 1):
            if next(_fields(entry, 1)) == _KEY:
                bytes_list = next(_fields(next(_fields(entry, 2)), 1))
                return next(_fields(bytes_list, 1))
    raise RunError("--data_dir: a record has no image")


def _fields(message: bytes, number: int) -> Iterator[bytes]:
    """Yields the contents of all fields with a number; all fields of an Example down to its lists have one kind."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        if tag & 7 != _BYTES_KIND:
            raise RunError(f"--data_dir: a record is no Example: it has a field of kind {tag & 7}")
        length, place = _varint(message, place)
        if tag >> 3 == number:
            yield message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """The number at a place, seven bits per byte, and the place after it."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
