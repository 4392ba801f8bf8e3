"""Findings: their kinds, how bad each is, and what the repaired copy does about it (no TF)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from utils.text import printable

FAULT, REMARK = "fault", "remark"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding.

    Attributes:
        name: What machines call it.
        severity: "fault" for what training or evaluation suffers from, "remark" for what is good to know.
        title: What people call all findings of the kind.
        cure: What the repaired copy does about it; nothing for remarks.
    """

    name: str
    severity: str
    title: str
    cure: str = ""


_DROP_IMAGE, _DROP_BOX = "image dropped", "box dropped"
_TABLE = (
    Kind("manifest", FAULT, "faults of the manifest", "written anew"),
    Kind("label_map", FAULT, "faults of the label map", "written anew"),
    Kind("file_missing", FAULT, "files that are missing", "left out"),
    Kind("file_changed", FAULT, "files other than the manifest describes", "described anew"),
    Kind("file_unlisted", REMARK, "files that the manifest does not list and nothing reads"),
    Kind("record_count", FAULT, "files with another number of records than the manifest says", "described anew"),
    Kind("index", FAULT, "DALI indexes that are not those of their records", "left out; made when they are needed"),
    Kind("record_broken", FAULT, "broken records", "dropped"),
    Kind("record_content", FAULT, "records that hold no example", "dropped"),
    Kind("image_unreadable", FAULT, "images that cannot be read", _DROP_IMAGE),
    Kind("image_size", FAULT, "images of another size than is said of them", "said anew"),
    Kind("image_turned", REMARK, "images that training sees lying on their side or mirrored"),
    Kind("image_cmyk", REMARK, "images in printing colors, which decoders read differently"),
    Kind("label_missing", FAULT, "images without a label", _DROP_IMAGE),
    Kind("label_range", FAULT, "labels that no class has", _DROP_IMAGE),
    Kind("label_name", FAULT, "labels that the class name beside them contradicts", _DROP_IMAGE),
    Kind("label_conflict", FAULT, "identical images with different labels", _DROP_IMAGE),
    Kind("duplicate_in_splits", FAULT, "training images that are validation images too", _DROP_IMAGE),
    Kind("similar_in_splits", FAULT, "training images that nearly are validation images", _DROP_IMAGE),
    Kind("duplicate", REMARK, "images that are there more than once in a split"),
    Kind("objects_uneven", FAULT, "records whose lists of objects differ in length", _DROP_IMAGE),
    Kind("box_not_finite", FAULT, "boxes with a number that is not finite", _DROP_BOX),
    Kind("box_inverted", FAULT, "boxes that end before they begin", _DROP_BOX),
    Kind("box_empty", FAULT, "boxes without an area", _DROP_BOX),
    Kind("box_outside", FAULT, "boxes that reach outside their image", "cut to the image, or dropped"),
    Kind("box_tiny", FAULT, "boxes less than a pixel wide or high", _DROP_BOX),
    Kind("box_duplicate", FAULT, "boxes that are there twice", _DROP_BOX),
    Kind("box_similar", REMARK, "boxes of one class that nearly coincide"),
    Kind("box_category", FAULT, "objects whose category is missing, unknown or contradicts their name", _DROP_BOX),
    Kind("annotation", FAULT, "annotations that are not what they must be", "dropped"),
    Kind("category", FAULT, "categories that are not what they must be", "dropped"),
    Kind("image_entry", FAULT, "entries of images that are not what they must be", "dropped"),
    Kind("image_without_boxes", REMARK, "images without boxes"),
    Kind("class_empty", REMARK, "classes without examples"),
    Kind("class_untrained", REMARK, "classes with validation examples and no training examples"),
    Kind("class_balance", REMARK, "splits with classes of very different size"),
    Kind("one_class", REMARK, "splits with one class only"),
    Kind("layout", REMARK, "remarks on files and folders"),
)
KINDS = {kind.name: kind for kind in _TABLE}


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a finding: a file by its path below the source, and a record number (from 0), an id or nothing."""

    source: str
    split: str
    file: str
    record: int | None = None

    def __str__(self) -> str:
        return printable(self.file) + ("" if self.record is None else f" record {self.record}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found, and where."""

    kind: str
    place: Place
    text: str

    @property
    def is_fault(self) -> bool:
        return KINDS[self.kind].severity == FAULT

    def to_json(self) -> dict[str, Any]:
        """The finding for machines."""
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
