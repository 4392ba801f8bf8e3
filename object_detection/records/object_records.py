"""Keys and categories of records with objects, and descriptions of their faults (no TF)."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence

from object_detection.class_table import ClassTable
from utils.records.example_proto import decode_example
from utils.records.record_rules import (
    BOX_KEYS,
    IMAGE_KEY,
    Features,
    FeatureSpec,
    RecordFault,
    Schema,
    absence,
    fault_of_types,
    uneven_lists,
)
from utils.records.split_files import SplitFiles
from utils.records.tfrecord_file import iterate_payloads, locate_records

TEXT_KEY, LABEL_KEY = "image/object/class/text", "image/object/class/label"
CROWD_KEY, AREA_KEY, WEIGHT_KEY = (f"image/object/{name}" for name in ("is_crowd", "area", "weight"))
MASK_KEY = "image/object/mask"
OPTIONAL_KEYS = (TEXT_KEY, LABEL_KEY, CROWD_KEY, AREA_KEY, WEIGHT_KEY)
SOURCE_KEY = "image/source_id"
_NUMBER = re.compile(rb"-?[0-9]{1,18}|-?[0-8][0-9]{18}")  # larger numbers may not fit 64 bits
OBJECT_SCHEMA: Schema = {
    IMAGE_KEY: FeatureSpec(bytes, b""),
    SOURCE_KEY: FeatureSpec(bytes, b""),
    **dict.fromkeys(BOX_KEYS, FeatureSpec(float)),
    TEXT_KEY: FeatureSpec(bytes),
    LABEL_KEY: FeatureSpec(int),
    CROWD_KEY: FeatureSpec(int),
    AREA_KEY: FeatureSpec(float),
    WEIGHT_KEY: FeatureSpec(float),
}


def fault_of_category(text: str, label: int, table: ClassTable) -> str:
    """Describes why an object has no category; empty if it has one. Follows ``input_pipeline.category_ids``.

    Args:
        text: Its class name; empty if the record has none.
        label: Its category id; 0 if the record has none.
        table: The categories.
    """
    by_text = table.texts.get(text)
    known = f"the {len(table.ids)} known categories have ids {table.ids[0]} to {table.ids[-1]}"
    if not text and label <= 0:
        return f"has neither a class name ({TEXT_KEY}) nor a category id ({LABEL_KEY})"
    if label > 0 and label not in table.ids:
        return f"has the category id {label}, which the label map does not have; {known}"
    if text and by_text is None:
        return f"is of the class {text!r}, which the label map does not have; {known}"
    if text and label > 0 and by_text != label:
        return f"is of the class {text!r} with the category id {label}; in the label map that class has id {by_text}"
    return ""


def fault_of_lists(features: Features) -> RecordFault | None:
    """The fault of features that no run can parse, or of lists of objects that differ in length; None if sound."""
    wrong = fault_of_types(features, OBJECT_SCHEMA)
    if wrong is not None:
        key, text = wrong
        return RecordFault("image_unreadable" if key == IMAGE_KEY else "objects_uneven", text)
    uneven = uneven_lists(features, BOX_KEYS, OPTIONAL_KEYS)
    if uneven:
        return RecordFault("objects_uneven", uneven)
    if not features.get(IMAGE_KEY):
        return RecordFault("image_unreadable", absence(features, OBJECT_SCHEMA, IMAGE_KEY, "image"))
    return None


def fault_in(features: Features, table: ClassTable) -> RecordFault | None:
    """The fault that makes a run refuse a record, apart from the pixels of its image; None if it has none.

    Follows ``input_pipeline.is_sound``.
    """
    fault = fault_of_lists(features)
    if fault is not None:
        return fault
    source = source_id(features)
    image = f"image {source.decode(errors='replace')}, " if source else ""
    boxes = list(zip(*(features.get(key, ()) for key in BOX_KEYS), strict=True))
    rows = zip(boxes, categories_of(features, len(boxes), table), faults_of_numbers(features, len(boxes)), strict=True)
    for number, (box, (_, of_category), of_numbers) in enumerate(rows):
        text = of_category or _fault_of_box(box) or of_numbers
        if text:
            return RecordFault("box_category", f"{image}object {number}: {text}")
    return None


def source_id(features: Features) -> bytes:
    """The id of the image of a record that can be parsed; empty if it has none."""
    found: bytes = (features.get(SOURCE_KEY) or [b""])[0]
    return found


def image_numbers(source_ids: Sequence[bytes]) -> list[int] | None:
    """The number of each image of a split; None if some source ids are no numbers, so that evaluation counts images."""
    return list(map(int, source_ids)) if all(map(_NUMBER.fullmatch, source_ids)) else None


def has_objects(files: SplitFiles, most: int) -> bool:
    """Returns whether one of the first ``most`` examples of a split has a box; reads up to the first that has one."""
    return _first_with_objects(files, most) is not None


def has_masks(files: SplitFiles) -> bool:
    """Returns whether the first example of a split that has a box has a mask for each."""
    features = _first_with_objects(files, files.stored)
    return features is not None and len(features.get(MASK_KEY) or ()) == len(features[BOX_KEYS[0]])


def _first_with_objects(files: SplitFiles, most: int) -> Features | None:
    """The features of the first of ``most`` examples that has a box."""
    left = most
    for path in files.paths:
        places, _ = locate_records(path)
        for payload, fault in iterate_payloads(path, places[:left]):
            with contextlib.suppress(ValueError):
                if not fault and (features := decode_example(payload)).get(BOX_KEYS[0]):
                    return features
        left -= min(left, len(places))
        if not left:
            break
    return None


def _fault_of_box(box: Sequence[float]) -> str:
    ymin, xmin, ymax, xmax = (min(max(side, 0.0), 1.0) for side in box)
    shown = "[" + ", ".join(f"{side:g}" for side in box) + "]"
    if not all(map(math.isfinite, box)):
        return f"its box [ymin, xmin, ymax, xmax] {shown} is not finite"
    if ymax <= ymin or xmax <= xmin:
        return f"its box [ymin, xmin, ymax, xmax] {shown} has no area inside the image"
    return ""


def faults_of_numbers(features: Features, count: int) -> list[str]:
    """Describes the area or the weight of each object of even lists; empty if they are usable."""
    areas, weights = (features.get(key) or [1.0] * count for key in (AREA_KEY, WEIGHT_KEY))
    return [
        f"its area {area:g} ({AREA_KEY}) is not finite"
        if not math.isfinite(area)
        else f"its weight {weight:g} ({WEIGHT_KEY}) must be finite, and 0 or more"
        if not (math.isfinite(weight) and weight >= 0)
        else ""
        for area, weight in zip(areas, weights, strict=True)
    ]


def categories_of(features: Features, count: int, table: ClassTable) -> list[tuple[int, str]]:
    """Returns the category id and an empty text for each object of even lists, or 0 and the reason if it has none."""
    texts = [text.decode(errors="replace") for text in features.get(TEXT_KEY) or [b""] * count]
    labels = [int(label) for label in features.get(LABEL_KEY) or [0] * count]
    found = []
    for text, label in zip(texts, labels, strict=True):
        fault = fault_of_category(text, label, table)
        found.append((0 if fault else label if label > 0 else table.texts[text], fault))
    return found
