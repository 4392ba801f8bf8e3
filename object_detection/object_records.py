"""Keys and categories of records with objects, and descriptions of their faults (no TF)."""

from __future__ import annotations

from collections.abc import Mapping

from object_detection.class_table import ClassTable
from utils.records.example_proto import Values

BOX_KEYS = tuple(f"image/object/bbox/{side}" for side in ("ymin", "xmin", "ymax", "xmax"))
TEXT_KEY, LABEL_KEY = "image/object/class/text", "image/object/class/label"
CROWD_KEY, AREA_KEY, WEIGHT_KEY = (f"image/object/{name}" for name in ("is_crowd", "area", "weight"))
OPTIONAL_KEYS = (TEXT_KEY, LABEL_KEY, CROWD_KEY, AREA_KEY, WEIGHT_KEY)


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


def uneven(features: Mapping[str, Values]) -> str:
    """Describes lists of objects that differ in length or have values of a wrong type; empty if there are none."""
    lengths = {key: len(features.get(key, [])) for key in (*BOX_KEYS, *OPTIONAL_KEYS)}
    lengths = {key: length for key, length in lengths.items() if length or key in BOX_KEYS}
    if len(set(lengths.values())) > 1:
        return f"its lists differ in length: {', '.join(f'{key} has {length}' for key, length in lengths.items())}"
    kinds = {**dict.fromkeys(BOX_KEYS, float), TEXT_KEY: bytes, LABEL_KEY: int}
    for key, kind in kinds.items():
        values: Values = features.get(key, [])
        if values and not isinstance(values[0], kind):
            return f"{key} holds {type(values[0]).__name__} values, and must hold {kind.__name__}"
    return ""


def categories_of(features: Mapping[str, Values], count: int, table: ClassTable) -> list[tuple[int, str]]:
    """Returns the category id and an empty text for each object of even lists, or 0 and the reason if it has none."""
    texts = [text.decode(errors="replace") for text in features.get(TEXT_KEY) or [b""] * count]  # type: ignore[union-attr]
    labels = [int(label) for label in features.get(LABEL_KEY) or [0] * count]
    found = []
    for text, label in zip(texts, labels, strict=True):
        fault = fault_of_category(text, label, table)
        found.append((0 if fault else label if label > 0 else table.texts[text], fault))
    return found
