"""Findings: their kinds, with severity and treatment in the repaired copy (no TF)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from utils.text import printable

FAULT, REMARK = "fault", "remark"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding.

    Attributes:
        name: Its name in JSON.
        severity: "fault" if it harms training or evaluation, "remark" if it is only worth knowing.
        title: The title of all findings of the kind, for people.
        cure: The treatment in the repaired copy; empty for remarks.
    """

    name: str
    severity: str
    title: str
    cure: str = ""


_DROP_IMAGE, _DROP_BOX = "image dropped", "box dropped"
_TABLE = (
    Kind("manifest", FAULT, "faults of the manifest", "rewritten, or left out"),
    Kind("label_map", FAULT, "faults of the label map", "left out"),
    Kind("file_missing", FAULT, "missing files", "left out"),
    Kind("file_outside", FAULT, "files outside the folder of their manifest", "left out"),
    Kind("split_empty", FAULT, "splits without any example"),
    Kind("split_without_objects", FAULT, "splits without any object"),
    Kind("file_empty", REMARK, "files without any record"),
    Kind("file_changed", FAULT, "files that differ from the manifest", "described anew"),
    Kind("file_unlisted", REMARK, "files that nothing reads"),
    Kind("record_count", FAULT, "files with another number of records than in the manifest", "described anew"),
    Kind("index", FAULT, "DALI indexes that do not match their records", "left out; made when needed"),
    Kind("record_broken", FAULT, "broken records", "dropped"),
    Kind("record_content", FAULT, "records that hold no example", "dropped"),
    Kind("image_unreadable", FAULT, "images that cannot be read", _DROP_IMAGE),
    Kind("image_size", FAULT, "images of another size than stated", "corrected"),
    Kind("image_faint", REMARK, "images that are all but black in 8 bits"),
    Kind("image_turned", REMARK, "images that training sees lying on their side or mirrored"),
    Kind("image_cmyk", REMARK, "images in printing colors, which decoders read differently"),
    Kind("label_missing", FAULT, "images without a label", _DROP_IMAGE),
    Kind("label_range", FAULT, "labels without a class", _DROP_IMAGE),
    Kind("label_name", FAULT, "labels that contradict their class name", _DROP_IMAGE),
    Kind("label_conflict", FAULT, "identical images with different labels", _DROP_IMAGE),
    Kind("duplicate_in_splits", FAULT, "training images that are also validation images", _DROP_IMAGE),
    Kind("similar_in_splits", FAULT, "training images that look the same as validation images", _DROP_IMAGE),
    Kind("duplicate", REMARK, "images that occur more than once in a split"),
    Kind("objects_uneven", FAULT, "records whose lists of objects are uneven or of another type", _DROP_IMAGE),
    Kind("source_id", FAULT, "images of a split with the same number (image/source_id)"),
    Kind("box_not_finite", FAULT, "boxes with a non-finite number", _DROP_BOX),
    Kind("box_inverted", FAULT, "boxes that end before they begin", _DROP_BOX),
    Kind("box_empty", FAULT, "boxes without an area", _DROP_BOX),
    Kind("box_outside", FAULT, "boxes that reach outside their image", "cut to the image, or dropped"),
    Kind("box_tiny", FAULT, "boxes less than a pixel wide or high", _DROP_BOX),
    Kind("box_duplicate", FAULT, "duplicate boxes", _DROP_BOX),
    Kind("box_similar", REMARK, "boxes of one class that nearly coincide"),
    Kind("box_category", FAULT, "objects whose category is missing, unknown or contradicts their name", _DROP_BOX),
    Kind("object_number", FAULT, "objects whose area or weight is no usable number", _DROP_BOX),
    Kind("annotation", FAULT, "invalid annotations", "dropped"),
    Kind("category", FAULT, "invalid categories", "dropped"),
    Kind("categories_differ", FAULT, "files whose categories differ"),
    Kind("image_entry", FAULT, "invalid entries of images", "dropped"),
    Kind("category_far", REMARK, "categories whose ids are far above the number of classes"),
    Kind("box_format", FAULT, "files with boxes in another format than COCO's"),
    Kind("image_resized", FAULT, "images that were resized without their boxes"),
    Kind("boxes_turned", REMARK, "images turned by EXIF, of which nothing proves how their boxes were drawn"),
    Kind("image_without_boxes", REMARK, "images without boxes"),
    Kind("class_names", REMARK, "classes whose names hardly differ"),
    Kind("class_empty", REMARK, "classes without examples"),
    Kind("class_untrained", REMARK, "classes with validation examples but no training examples"),
    Kind("class_unvalidated", REMARK, "classes with training examples but no validation examples"),
    Kind("class_balance", REMARK, "splits with classes of very different size"),
    Kind("one_class", REMARK, "splits with one class only"),
    Kind("layout", REMARK, "remarks on files and folders"),
)
KINDS = {kind.name: kind for kind in _TABLE}


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a finding: a file by its path below the source, and a record number (from 0), an id or None."""

    source: str
    split: str
    file: str
    record: int | None = None

    def __str__(self) -> str:
        return printable(self.file) + ("" if self.record is None else f" record {self.record}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding, with its place."""

    kind: str
    place: Place
    text: str

    @property
    def is_fault(self) -> bool:
        return KINDS[self.kind].severity == FAULT

    def to_json(self) -> dict[str, Any]:
        """The finding as a JSON object."""
        kind, place = KINDS[self.kind], self.place
        return {
            "kind": kind.name,
            "severity": kind.severity,
            "source": place.source,
            "split": place.split,
            "file": printable(place.file),
            "record": place.record,
            "text": self.text,
        }
