"""Rules for the objects of a detection record (no TF)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from object_detection.class_table import ClassTable, class_table
from object_detection.label_map import COCO_LABEL_MAP, Category, read_label_map
from object_detection.records.box_rules import Box
from object_detection.records.object_records import categories_of, fault_of_lists, faults_of_numbers, source_id
from tools.validate.boxes import check_boxes
from tools.validate.decoded_image import DecodedImage
from tools.validate.findings import KINDS, REMARK
from tools.validate.scan import RecordCheck, size_fault, true_size
from utils.errors import RunError
from utils.records.example_proto import Value
from utils.records.manifest import LABEL_MAP_NAME, MANIFEST_NAME, Manifest
from utils.records.record_rules import BOX_KEYS, Features

_PREFIX = "image/object/"


@dataclass(frozen=True, slots=True)
class ObjectRules:
    """Objects as training reads them, of the categories of a table."""

    table: ClassTable

    def __call__(self, features: Features, decoded: DecodedImage) -> RecordCheck:
        fault = fault_of_lists(features)
        if fault is not None:
            return RecordCheck(notes=(fault,))
        boxes: list[Box] = list(zip(*(map(float, features.get(key, [])) for key in BOX_KEYS), strict=True))
        found = categories_of(features, len(boxes), self.table)
        ids = [category for category, _ in found]
        notes = [("box_category", f"object {i}: {text}") for i, (_, text) in enumerate(found) if text]
        scale = (decoded.height, decoded.width) * 2 if decoded.readable else (1, 1) * 2
        drawn = [tuple(edge * side for edge, side in zip(box, scale, strict=True)) for box in boxes]
        height, width = (decoded.height, decoded.width) if decoded.readable else (0, 0)
        checks = check_boxes(drawn, ids, height, width)  # type: ignore[arg-type]  # four numbers each
        notes += [(check.kind, f"object {i}: {check.text}") for i, check in enumerate(checks) if check.kind]
        of_numbers = faults_of_numbers(features, len(boxes))
        notes += [("object_number", f"object {i}: {text}") for i, text in enumerate(of_numbers) if text]
        kept = [i for i, check in enumerate(checks) if check.left is not None and ids[i] > 0 and not of_numbers[i]]
        if not kept:
            notes.append(("image_without_boxes", "has no object" + (" left" if boxes else "")))
        wrong_size = size_fault(features, decoded)
        if wrong_size:
            notes.append(("image_size", wrong_size))
        return RecordCheck(
            *(tuple(ids[i] for i in kept), tuple(notes), self._corrected(features, decoded, boxes, kept, notes)),
            source_id(features),
        )

    def _corrected(
        self,
        features: Features,
        decoded: DecodedImage,
        boxes: Sequence[Box],
        kept: Sequence[int],
        notes: Sequence[tuple[str, str]],
    ) -> Mapping[str, Value] | None:
        """The changes of the record: only the kept objects, clipped to the image; None without faults."""
        if all(KINDS[kind].severity == REMARK for kind, _ in notes):
            return None
        changed: dict[str, Value] = {
            key: [values[i] for i in kept]
            for key, values in features.items()
            if key.startswith(_PREFIX) and boxes and len(values) == len(boxes)
        }
        for side, key in enumerate(BOX_KEYS):
            changed[key] = [min(max(boxes[i][side], 0.0), 1.0) for i in kept]
        return {**changed, **(true_size(decoded) if size_fault(features, decoded) else {})}


def make_object_rules(
    folder: Path, manifest: Manifest | None, label_map: Path | None = None
) -> tuple[ObjectRules, dict[int, str], list[str]]:
    """The rules of a folder of records, the name of each category, and faults of the label map.

    Args:
        folder: The folder of the records.
        manifest: Their manifest, if any.
        label_map: The given label map, which applies if there is no manifest.

    Raises:
        RunError: The given label map cannot be read.
    """
    faults: list[str] = []
    beside = folder / LABEL_MAP_NAME
    found: tuple[Category, ...] | None = None
    if label_map is not None:
        found = read_label_map(label_map)
    elif beside.is_file():
        try:
            found = read_label_map(beside)
        except RunError as error:
            faults.append(str(error))
    listed = _listed(manifest)
    categories = [one for one in found or () if not one.is_background]
    if listed and categories and {one.id: one.title for one in categories} != {one.id: one.title for one in listed}:
        faults.append(
            f"{beside if label_map is None else label_map}: its categories differ from those of {MANIFEST_NAME}"
        )
    known = listed or categories or list(read_label_map(COCO_LABEL_MAP))
    ids, names = tuple(one.id for one in known), tuple(one.title for one in known)
    table = class_table(ids, names, tuple(one.name for one in known), ids[-1], exact=False)
    return ObjectRules(table), dict(zip(ids, names, strict=True)), faults


def _listed(manifest: Manifest | None) -> list[Category]:
    if manifest is None:
        return []
    pairs = zip(manifest.category_ids or (), manifest.class_names, strict=True)
    return [Category(id=number, name=name, display_name=name) for number, name in pairs]
