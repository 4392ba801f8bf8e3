"""Reads stored records, in a pass over a split or by number, with their images and objects (no TF)."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from object_detection.class_table import ClassTable
from object_detection.records.object_records import CROWD_KEY, categories_of, fault_in
from utils.errors import RunError
from utils.records.example_proto import decode_example
from utils.records.record_rules import BOX_KEYS, NO_EXAMPLE, Features, image_of
from utils.records.split_files import SplitFiles
from utils.records.tfrecord_file import iterate_payloads, locate_records, read_record

_UNDECODABLE = "the image does not decode"


class StoredRecord(NamedTuple):
    """One record.

    Attributes:
        number: Its index in the split.
        features: Its features; empty if it cannot be read.
        fault: The reason that it cannot be read, or empty.
    """

    number: int
    features: Features
    fault: str


def stored_records(files: SplitFiles, most: int) -> Iterator[StoredRecord]:
    """Yields the records of a split in order; of more than ``most``, every n-th.

    Raises:
        RunError: A file cannot be opened.
    """
    wanted = files.indices[:: max(1, -(-files.examples // most))]
    for path, first in zip(files.paths, files.offsets, strict=True):
        places, broken = locate_records(path)
        begin, end = (bisect_left(wanted, edge) for edge in (first, first + len(places)))
        numbers = [index - first for index in wanted[begin:end]]
        payloads = iterate_payloads(path, (places[number] for number in numbers))
        for number, (payload, fault) in zip(numbers, payloads, strict=True):
            yield _read(first + number, payload, fault)
        if broken:
            yield StoredRecord(first + len(places), {}, broken)


def stored_record(files: SplitFiles, index: int) -> StoredRecord:
    """One record of a split, by its number."""
    return _read(index, read_record(*files.locate(index)), None)


def _read(index: int, payload: bytes, fault: str | None) -> StoredRecord:
    if fault:
        return StoredRecord(index, {}, fault)
    try:
        return StoredRecord(index, decode_example(payload), "")
    except ValueError as error:
        return StoredRecord(index, {}, f"{NO_EXAMPLE} ({error})")


def stored_image(record: StoredRecord) -> Image.Image:
    """The image of a record in RGB, as stored: like training, it ignores the EXIF orientation.

    Raises:
        RunError: It has no image that Pillow can read.
    """
    try:
        with Image.open(io.BytesIO(image_of(record.features))) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow's decoders raise errors of any type
        raise RunError(_UNDECODABLE) from error


def stored_sides(record: StoredRecord) -> tuple[int, int]:
    """Height and width of the image of a record, by its header; raises the error of ``stored_image``."""
    try:
        with Image.open(io.BytesIO(image_of(record.features))) as image:
            return image.height, image.width
    except Exception as error:  # Pillow's decoders raise errors of any type
        raise RunError(_UNDECODABLE) from error


class StoredObjects(NamedTuple):
    """The objects of one record, G rows each.

    Attributes:
        boxes: ``[G, 4]`` float32, ``[ymin, xmin, ymax, xmax]`` as stored.
        categories: ``[G]``, category ids.
        crowds: ``[G]`` boolean.
    """

    boxes: np.ndarray
    categories: np.ndarray
    crowds: np.ndarray


def stored_objects(features: Features, table: ClassTable) -> StoredObjects:
    """The objects of a record.

    Raises:
        RunError: Training cannot use one of them; the message names it and the reason, as training would.
    """
    fault = fault_in(features, table)
    if fault is not None:
        raise RunError(fault.text)
    boxes = np.array([features.get(key, []) for key in BOX_KEYS], np.float32).reshape(4, -1).T
    found = categories_of(features, len(boxes), table)
    crowds = features.get(CROWD_KEY) or [0] * len(boxes)
    return StoredObjects(boxes, np.array([category for category, _ in found], int), np.array(crowds, int) != 0)
