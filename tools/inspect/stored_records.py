"""Records as they are stored: each one's features, by a pass over a split or by number (no TF)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from PIL import Image, ImageOps

from utils.errors import RunError
from utils.records.example_proto import Values, decode_example
from utils.records.manifest import SplitFiles
from utils.records.tfrecord_file import iterate_payloads, read_record, survey

IMAGE_KEY = "image/encoded"
NO_EXAMPLE = "is no tf.train.Example"

Features = Mapping[str, Values]


class Stored(NamedTuple):
    """One record.

    Attributes:
        number: Its index in the split.
        features: What it holds; nothing where it cannot be read.
        fault: Why it cannot be read, or nothing.
    """

    number: int
    features: Features
    fault: str


def stored_records(files: SplitFiles, most: int) -> Iterator[Stored]:
    """The records of a split in order; of more than ``most``, each n-th.

    Raises:
        RunError: A file cannot be opened.
    """
    every = max(1, -(-files.examples // most))
    for path, first in zip(files.paths, files.offsets, strict=True):
        places, broken = survey(path)
        numbers = range(-first % every, len(places), every)
        payloads = iterate_payloads(path, (places[number] for number in numbers))
        for number, (payload, fault) in zip(numbers, payloads, strict=True):
            yield _read(first + number, payload, fault)
        if broken:
            yield Stored(first + len(places), {}, broken)


def stored_record(files: SplitFiles, index: int) -> Stored:
    """One record of a split, by its number."""
    return _read(index, read_record(*files.locate(index)), None)


def _read(index: int, payload: bytes, fault: str | None) -> Stored:
    if fault:
        return Stored(index, {}, fault)
    try:
        return Stored(index, decode_example(payload), "")
    except ValueError:
        return Stored(index, {}, NO_EXAMPLE)


def stored_image(record: Stored) -> Image.Image:
    """The image of a record, upright and in RGB.

    Raises:
        RunError: It has none that Pillow reads.
    """
    values = record.features.get(IMAGE_KEY) or [b""]
    try:
        if not isinstance(values[0], bytes):
            raise ValueError("is no bytes")
        with Image.open(io.BytesIO(values[0])) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # Pillow's decoders raise errors of any type
        raise RunError("the image does not decode") from error
