"""The keys of records with objects, and what is wrong with the category of one, in words (no TF)."""

from __future__ import annotations

from object_detection.class_table import ClassTable

BOX_KEYS = tuple(f"image/object/bbox/{side}" for side in ("ymin", "xmin", "ymax", "xmax"))
TEXT_KEY, LABEL_KEY = "image/object/class/text", "image/object/class/label"
CROWD_KEY, AREA_KEY, WEIGHT_KEY = (f"image/object/{name}" for name in ("is_crowd", "area", "weight"))
OPTIONAL_KEYS = (TEXT_KEY, LABEL_KEY, CROWD_KEY, AREA_KEY, WEIGHT_KEY)


def fault_of_category(text: str, label: int, table: ClassTable) -> str:
    """Why an object has no category, or nothing: the rules are those of ``input_pipeline.category_ids``.

    Args:
        text: What it is called; nothing where the record does not say.
        label: Its category id; 0 where the record does not say.
        table: The categories.
    """
    by_text = table.texts.get(text)
    known = f"the {len(table.ids)} known categories have ids {table.ids[0]} to {table.ids[-1]}"
    if not text and label <= 0:
        return f"has neither a class name ({TEXT_KEY}) nor a category id ({LABEL_KEY})"
    if label > 0 and label not in table.ids:
        return f"has the category id {label}, which the label map does not; {known}"
    if text and by_text is None:
        return f"is of the class {text!r}, which the label map does not have; {known}"
    if text and label > 0 and by_text != label:
        return f"is of the class {text!r} with the category id {label}; in the label map that name has {by_text}"
    return ""
