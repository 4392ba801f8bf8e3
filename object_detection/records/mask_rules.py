"""Rules for the masks in a record, for messages about records that cannot be used (no TF)."""

from __future__ import annotations

import io

from PIL import Image

from object_detection.records.object_records import MASK_KEY
from utils.records.record_rules import Features, FeatureSpec, RecordFault, fault_of_types, image_of

_KIND = "mask_unreadable"


def fault_of_masks(features: Features) -> RecordFault | None:
    """The fault of the masks in features whose image and lists are sound; None if they have none, or no masks."""
    wrong = fault_of_types(features, {MASK_KEY: FeatureSpec(bytes)})
    if wrong is not None:
        return RecordFault(_KIND, wrong[1])
    size = _size(image_of(features))
    for number, mask in enumerate(features.get(MASK_KEY) or ()):
        found = _size(bytes(mask))
        if found is None:
            return RecordFault(_KIND, f"object {number}: its mask ({MASK_KEY}) is not a PNG file")
        if size is not None and found != size:
            shapes = [f"{width}x{height}" for width, height in (found, size)]
            return RecordFault(_KIND, f"object {number}: its mask ({MASK_KEY}) has {shapes[0]} pixels, not {shapes[1]}")
    return None


def _size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a readable image."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return image.size
    except (OSError, SyntaxError, ValueError):
        return None
