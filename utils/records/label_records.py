"""Records of images with one label or several: their features, and the faults that a run ends with (no TF)."""

from __future__ import annotations

from dataclasses import dataclass

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

LABEL_KEY = "image/class/label"
SEVERAL_LABELS_FLAG = "--multi_label"
LABEL_SCHEMA: Schema = {
    IMAGE_KEY: FeatureSpec(bytes, b""),
    LABEL_KEY: FeatureSpec(int, -1),
    **dict.fromkeys(BOX_KEYS, FeatureSpec(float)),
}
SEVERAL_LABELS_SCHEMA: Schema = {**LABEL_SCHEMA, LABEL_KEY: FeatureSpec(int)}
"""An image may have several labels, or none."""
_KIND_OF_KEY = {IMAGE_KEY: "image_unreadable", LABEL_KEY: "label_missing"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRange:
    """Labels as a run reads them.

    Attributes:
        offset: The first label.
        count: Number of labels; None for any.
        flag: The flag that sets the number, for messages; empty if none does.
        several: Whether an image may have several labels, or none.
    """

    offset: int
    count: int | None
    flag: str = ""
    several: bool = False

    def fault_in(self, features: Features) -> RecordFault | None:
        """The fault that makes a run refuse a record, apart from the pixels of its image; None if it has none."""
        wrong = fault_of_types(features, SEVERAL_LABELS_SCHEMA if self.several else LABEL_SCHEMA)
        if wrong is not None:
            key, text = wrong
            if key == LABEL_KEY and len(features[key]) > 1 and features[key].kind is int:
                text += f" ({SEVERAL_LABELS_FLAG} trains on several labels an image)"
            return RecordFault(_KIND_OF_KEY.get(key, "record_content"), text)
        uneven = uneven_lists(features, BOX_KEYS)
        if uneven:
            return RecordFault("objects_uneven", uneven)
        if not features.get(IMAGE_KEY):
            return RecordFault("image_unreadable", absence(features, LABEL_SCHEMA, IMAGE_KEY, "image"))
        if not features.get(LABEL_KEY) and not self.several:
            return RecordFault("label_missing", absence(features, LABEL_SCHEMA, LABEL_KEY, "label"))
        faults = (self._fault_of(label) for label in features.get(LABEL_KEY, ()))
        return next((fault for fault in faults if fault is not None), None)

    def _fault_of(self, label: int) -> RecordFault | None:
        if label >= self.offset and (self.count is None or label - self.offset < self.count):
            return None
        allowed = f"{self.offset}.." + ("" if self.count is None else f"{self.offset + self.count - 1}")
        return RecordFault("label_range", f"label {label} is outside {allowed}{self.flag and f' ({self.flag})'}")
