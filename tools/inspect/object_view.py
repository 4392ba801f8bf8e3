"""The view of images with objects: their pictures, the anchors matched to them, and their statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from object_detection.boxes.anchors import pyramid_anchors
from object_detection.boxes.box_coder import decode
from object_detection.drawing import draw_detections
from runtime.detection.task import class_table_of
from runtime.task import Setup
from tools.inspect.anchor_pictures import best_overlaps, draw_anchors
from tools.inspect.charts import BoxSizes, ClassRow, box_chart, class_chart
from tools.inspect.contact_sheet import display_side, fitted
from tools.inspect.network_inputs import NetworkInput
from tools.inspect.statistics import ObjectStatistics, box_facts, box_lines, class_lines, count_line
from tools.inspect.stored_records import (
    StoredObjects,
    StoredRecord,
    stored_image,
    stored_objects,
    stored_records,
    stored_sides,
)
from tools.inspect.view import MOST_RECORDS, CaptionedPicture, DatasetStatistics, ExtraSheet, Interruptible
from utils.config import resolved
from utils.detection_config import TASK_ALIGNED
from utils.errors import RunError
from utils.image_sizes import sides_of
from utils.images.lettering import Lettering
from utils.letterbox import share_of_input
from utils.records.split_files import SplitFiles

MOST_BOXES = 20_000
"""Most boxes to compare with the anchors; of more, a random sample."""
CROWD, NO_ANCHOR = "crowd", "no anchor"


class ObjectView:
    """Images with objects, of a resolved setup of a detector."""

    unit = "objects"

    def __init__(self, setup: Setup) -> None:
        model, self._detection = setup.config.model, resolved(setup.config, "detection")
        self._setup = setup
        self._size, self._pads = resolved(model, "image_size"), self._detection.pads
        self._sides = np.array(sides_of(self._size))
        self._table = class_table_of(model, exact=self._detection.exact_classes)
        self._names = dict(zip(self._table.ids, self._table.names, strict=True))
        self._category_of_slot = dict(zip(self._table.slots, self._table.ids, strict=True))
        self._anchors = pyramid_anchors(*sides_of(self._size), self._detection.anchors)
        self._letters = Lettering(10)
        self.side = display_side(max(sides_of(self._size)), 480, 800)

    def extra_tensors(self, batch: Any, targets: Any) -> dict[str, Any]:
        """The decoded boxes of all anchors and the ground-truth objects, in training; nothing in evaluation."""
        if "codes" not in targets:
            return {}
        mixed = {name: targets.get(name, values) for name, values in batch.targets.items()}
        return {**mixed, "coded": decode(targets["codes"], self._anchors, self._detection.coder)}

    def show_stored(self, record: StoredRecord) -> CaptionedPicture:
        objects, image = self._objects_in(record), stored_image(record)
        names = [self._names[c] + (f" ({CROWD})" * bool(is_crowd)) for _, c, is_crowd in zip(*objects, strict=True)]
        scale = (image.height, image.width) * 2
        boxes = [
            {"category_id": int(category), "name": name, "box_px": _rounded(box * scale)}
            for box, category, name in zip(objects.boxes, objects.categories, names, strict=True)
        ]
        facts = {"image_size_px": [image.height, image.width], "objects": boxes}
        return self._drawn(image, objects.boxes, names, objects.categories.tolist(), facts)

    def show_input(self, example: NetworkInput) -> CaptionedPicture:
        objects = self._trained(example) if "matches" in example.targets else self._compared(example)
        boxes = np.array([one["box"] for one in objects], np.float32).reshape(-1, 4)
        names = [one["name"] + (f" ({one['note']})" if one["note"] else "") for one in objects]
        scale = np.tile(self._sides, 2)
        listed = [
            {**{k: v for k, v in one.items() if k != "box"}, "box_px": _rounded(np.array(one["box"]) * scale)}
            for one in objects
        ]
        return self._drawn(example.image, boxes, names, [one["category_id"] for one in objects], {"objects": listed})

    def extra_sheets(self) -> dict[str, ExtraSheet]:
        matcher = self._detection.matcher
        which = "those that overlap more than others near the object"
        if matcher.kind == "iou":
            which = f"those that overlap by {matcher.matched_threshold:g}, else the best one"
        elif matcher.kind == TASK_ALIGNED:
            which += ", before predictions decide"
        title = f"Anchors matched to objects in training: {which}"
        return {"matched_anchors.png": (title, self._matched)}

    def _matched(self, example: NetworkInput) -> CaptionedPicture:
        """An example with its matched anchors; the name of each object is its number of anchors."""
        objects, targets = self._trained(example), example.targets
        rows = np.flatnonzero(targets["code_weights"] > 0)
        categories = [self._category_of_slot.get(int(slot), 0) for slot in targets["labels"][rows]]
        picture = draw_anchors(fitted(example.image, self.side), self._anchors[rows], categories)
        boxes = np.array([one["box"] for one in objects], np.float32).reshape(-1, 4)
        names = [f"{one['anchors']}" for one in objects]
        picture = draw_detections(picture, boxes, names, classes=[one["category_id"] for one in objects])
        return CaptionedPicture(picture, f"{len(rows)} anchors for {len(objects)} objects", {"anchors": len(rows)})

    def _trained(self, example: NetworkInput) -> list[dict[str, Any]]:
        """The objects that the targets of an example encode at the anchors, and those without an anchor."""
        t = example.targets
        found = []
        for row in np.flatnonzero((t["groundtruth_weights"] > 0) | t["groundtruth_ignored"]):
            anchors = np.flatnonzero((t["matches"] == row) & (t["code_weights"] > 0))
            ignored = bool(t["groundtruth_ignored"][row])
            note = CROWD if ignored else "" if len(anchors) else NO_ANCHOR
            box = t["coded"][anchors[0]] if len(anchors) else t["groundtruth_boxes"][row]
            slot = t["labels"][anchors[0]] if len(anchors) else t["groundtruth_slots"][row]
            found.append({**self._named(slot), "box": box.tolist(), "anchors": len(anchors), "note": note})
        return found

    def _compared(self, example: NetworkInput) -> list[dict[str, Any]]:
        """The ground-truth objects of an evaluation example, where the network's input shows them."""
        t = example.targets
        boxes = self._in_input(t["groundtruth_boxes"], t["image_size"])
        return [
            {
                "category_id": int(t["groundtruth_classes"][row]),
                "name": self._names[int(t["groundtruth_classes"][row])],
                "box": boxes[row].tolist(),
                "note": CROWD if t["groundtruth_is_crowd"][row] else "",
            }
            for row in range(int(t["num_groundtruth"]))
        ]

    def _in_input(self, boxes: np.ndarray, picture: Any) -> np.ndarray:
        """Boxes of a picture of this height and width as those of the network's input."""
        if not self._pads:
            return boxes
        share = share_of_input(np.asarray(picture, np.int64), self._size, np)
        placed: np.ndarray = (boxes * np.tile(share, 2)).astype(np.float32)
        return placed

    def _named(self, slot: Any) -> dict[str, Any]:
        category = self._category_of_slot.get(int(slot), 0)
        return {"category_id": category, "name": self._names.get(category, f"class slot {slot}")}

    def _drawn(
        self, image: Image.Image, boxes: np.ndarray, names: Sequence[str], classes: Sequence[int], facts: dict[str, Any]
    ) -> CaptionedPicture:
        written = [self._written(name, number) for name, number in zip(names, classes, strict=True)]
        picture = draw_detections(fitted(image, self.side), boxes, written, classes=classes)
        counts = Counter(names)
        caption = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no objects"
        return CaptionedPicture(picture, caption, facts)

    def _written(self, name: str, category: int) -> str:
        """A name as drawn: with its id if the font has none of its letters."""
        return name if any(map(str.isalnum, self._letters.readable(name))) else f"{category} {name}"

    def _objects_in(self, record: StoredRecord) -> StoredObjects:
        if record.fault:
            raise RunError(record.fault)
        return stored_objects(record.features, self._table)

    def statistics(self, interruptible: Interruptible) -> DatasetStatistics:
        found = {split: self._count(files, interruptible) for split, files in self._setup.splits.items()}
        rows = [
            ClassRow(f"{category} {name}", {split: part.categories[category] for split, part in found.items()})
            for category, name in self._names.items()
        ]
        train = found["train"]
        boxes = self._sizes(train)
        facts: dict[str, Any] = {
            "splits": {split: part.facts() for split, part in found.items()},
            "classes": [
                {"category_id": category, "name": name, **row.counts}
                for (category, name), row in zip(self._names.items(), rows, strict=True)
            ],
            "boxes": box_facts(boxes),
        }
        lines = [f"{split}: {count_line(part.facts(), 'images')}, {part.line()}" for split, part in found.items()]
        charts = {"classes.png": class_chart(rows, list(found), self.unit)}
        if len(boxes.overlaps):
            charts["boxes.png"] = box_chart(boxes, train.per_image)
        return DatasetStatistics(
            facts=facts,
            lines=[*lines, *class_lines(rows, list(found)), *box_lines(facts["boxes"])],
            charts=charts,
            faults=[fault for part in found.values() for fault in part.faults],
        )

    def _count(self, files: SplitFiles, interruptible: Interruptible) -> ObjectStatistics:
        found = ObjectStatistics(files)
        for record in interruptible(stored_records(files, MOST_RECORDS)):
            try:
                objects = self._objects_in(record)
                if self._pads:
                    boxes = np.clip(objects.boxes, 0.0, 1.0)
                    objects = objects._replace(boxes=self._in_input(boxes, stored_sides(record)))
                found.add(objects, crowds=self._detection.train_crowds)
            except RunError as error:
                found.add_fault(record.number, str(error))
        return found

    def _sizes(self, found: ObjectStatistics) -> BoxSizes:
        """The sizes of the trained boxes, or of a sample of them, and of the anchors."""
        boxes = found.all_boxes()
        chosen = np.sort(np.random.default_rng(0).permutation(len(boxes))[:MOST_BOXES])
        boxes = boxes[chosen]
        anchor_sides = np.unique(((self._anchors[:, 2:] - self._anchors[:, :2]) * self._sides).round(2), axis=0)
        return BoxSizes(
            sides=(boxes[:, 2:] - boxes[:, :2]) * self._sides,
            overlaps=best_overlaps(boxes, self._anchors),
            anchor_sides=anchor_sides,
            enough=self._detection.matcher.matched_threshold,
            size=self._size,
        )


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 2) + 0.0 for value in values]  # -0.0 becomes 0.0
