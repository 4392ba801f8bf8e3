"""Statistics of the classes and objects of a data set, as numbers for JSON and as lines for people (no TF)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tools.inspect.charts import BoxSizes, ClassRow
from tools.inspect.stored_records import StoredObjects
from utils.records.split_files import SplitFiles
from utils.reporting.names import short
from utils.text import percent

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_NAMED = 5
SMALL_PX, LARGE_PX = 32, 96  # square roots of areas, as in COCO


class ObjectStatistics:
    """Counts of the objects of a split."""

    def __init__(self, files: SplitFiles) -> None:
        self._files = files
        self._boxes: list[np.ndarray] = []
        self._crowds = 0
        self.categories: Counter[int] = Counter()
        self.per_image: list[int] = []
        self.faults: list[str] = []

    def add(self, objects: StoredObjects, *, crowds: bool) -> None:
        """Counts the objects of a record; crowds count only if training uses them."""
        trained = np.ones(len(objects.crowds), bool) if crowds else ~objects.crowds
        self._boxes.append(np.clip(objects.boxes[trained], 0.0, 1.0))
        self._crowds += int(objects.crowds.sum())
        self.categories.update(objects.categories[trained].tolist())
        self.per_image.append(int(trained.sum()))

    def add_fault(self, index: int, why: str) -> None:
        """Notes the fault of a record of the split."""
        path, number = self._files.locate(index)
        self.faults.append(f"{path}, record {number}: {why}")

    def all_boxes(self) -> np.ndarray:
        """All boxes, ``[B, 4]``, clipped to the image."""
        return np.concatenate([np.zeros([0, 4], np.float32), *self._boxes])

    def facts(self) -> dict[str, Any]:
        """The numbers for JSON."""
        return {
            "examples": self._files.examples,
            "looked_at": len(self.per_image) + len(self.faults),
            "objects": sum(self.per_image),
            "crowds": self._crowds,
            "images_without_objects": self.per_image.count(0),
            "most_objects_in_an_image": max(self.per_image, default=0),
        }

    def line(self) -> str:
        """The numbers as a sentence."""
        count = self.facts()
        images = max(1, len(self.per_image))
        text = f"{count['objects']:,} objects, {count['objects'] / images:.1f} per image and at most "
        text += f"{count['most_objects_in_an_image']:,}; {count['images_without_objects']:,} images without objects"
        return text + (f"; {self._crowds:,} crowds" if self._crowds else "")


def box_facts(boxes: BoxSizes) -> dict[str, Any]:
    """Sizes of boxes and their cover by anchors, for JSON; shares are None without boxes."""
    root = np.sqrt(boxes.sides.prod(axis=1))
    height, width = boxes.sides.T
    uncovered = boxes.overlaps < boxes.enough
    bands = {"small": root < SMALL_PX, "medium": (root >= SMALL_PX) & (root <= LARGE_PX), "large": root > LARGE_PX}
    return {
        "image_size": boxes.size,
        "compared": len(root),
        "enough_overlap": boxes.enough,
        "covered_by_no_anchor": _share(uncovered),
        "by_size": {
            band: {"boxes": int(chosen.sum()), "covered_by_no_anchor": _share(uncovered[chosen])}
            for band, chosen in bands.items()
        },
        "quantiles": {
            "of": list(QUANTILES),
            "height_px": _quantiles(height),
            "width_px": _quantiles(width),
            "root_of_area_px": _quantiles(root),
            "width_over_height": _quantiles(width / height),
            "best_overlap": _quantiles(boxes.overlaps),
        },
    }


def _share(chosen: np.ndarray) -> float | None:
    return round(float(chosen.mean()), 6) if len(chosen) else None


def _quantiles(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in np.quantile(values, QUANTILES)] if len(values) else []


def box_lines(facts: Mapping[str, Any]) -> list[str]:
    """Two lines of text about boxes."""
    if not facts["compared"]:
        return ["boxes: none to train with"]
    low, middle, high = (facts["quantiles"]["root_of_area_px"][i] for i in (1, 3, 5))
    bands = [
        f"{band} {percent(part['covered_by_no_anchor'])} of {part['boxes']:,}"
        for band, part in facts["by_size"].items()
        if part["boxes"]
    ]
    return [
        f"boxes at {facts['image_size']} px: 5 % are below {low:.0f} px, half below {middle:.0f}, 95 % below "
        f"{high:.0f} (square roots of areas)",
        f"not covered by an anchor at {facts['image_size']} px (best overlap below {facts['enough_overlap']:g}): "
        f"{percent(facts['covered_by_no_anchor'])} of {facts['compared']:,} boxes; {', '.join(bands)}",
    ]


def count_line(part: Mapping[str, Any], unit: str) -> str:
    """The number of examples of a split, and how many of them were counted."""
    whole = f"{part['examples']:,} {unit}"
    return whole if part["looked_at"] >= part["examples"] else f"{whole}, {part['looked_at']:,} of them counted"


def class_lines(rows: Sequence[ClassRow], splits: Sequence[str]) -> list[str]:
    """Lines on the most and the least frequent class of the first split, and on the classes that splits lack."""
    first = splits[0]
    ordered = sorted(rows, key=lambda row: -row.counts.get(first, 0))
    total = sum(row.counts.get(first, 0) for row in rows)
    if not total:
        return [f"classes: {len(rows):,}, none of them in {first}"]
    most, least = ordered[0], ordered[-1]
    many, few = most.counts[first], least.counts[first]
    if len(rows) == 1:
        lines = [f"classes: 1, {short(most.name)}: there is nothing to tell apart"]
    elif many == few:
        lines = [f"classes: {len(rows):,}; {first} has {many:,} of each"]
    else:
        lines = [
            f"classes: {len(rows):,}; {first} has most of {short(most.name)} ({many:,}, {percent(many / total)}), "
            f"fewest of {short(least.name)} ({few:,})"
        ]
    for split in splits:
        without = [row.name for row in rows if not row.counts.get(split, 0)]
        if without:
            named = ", ".join(short(name, 30) for name in without[:_NAMED])
            more = f" and {len(without) - _NAMED:,} more" if len(without) > _NAMED else ""
            lines.append(f"without an example in {split}: {named}{more}")
    return lines
