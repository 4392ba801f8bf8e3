"""What the objects of a split come to: counts, sizes at the network's input, and how many no anchor covers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tools.inspect.charts import BoxSizes
from utils.records.manifest import SplitFiles

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
SMALL_PX, LARGE_PX = 32, 96  # roots of areas, as COCO has them


class Objects(Protocol):
    """Those of one record: boxes ``[G, 4]``, category ids ``[G]`` and whether each is a crowd."""

    boxes: np.ndarray
    categories: np.ndarray
    crowds: np.ndarray


class Found:
    """What was counted of a split."""

    def __init__(self, files: SplitFiles) -> None:
        self._files = files
        self._boxes: list[np.ndarray] = []
        self._crowds = 0
        self.categories: Counter[int] = Counter()
        self.per_image: list[int] = []
        self.faults: list[str] = []

    def add(self, objects: Objects, *, crowds: bool) -> None:
        """Counts the objects of a record; those of crowds only where they are trained."""
        trained = np.ones(len(objects.crowds), bool) if crowds else ~objects.crowds
        self._boxes.append(np.clip(objects.boxes[trained], 0.0, 1.0))
        self._crowds += int(objects.crowds.sum())
        self.categories.update(objects.categories[trained].tolist())
        self.per_image.append(int(trained.sum()))

    def add_fault(self, index: int, why: str) -> None:
        """Notes what is wrong with a record of the split."""
        path, number = self._files.locate(index)
        self.faults.append(f"{path}, record {number}: {why}")

    def all_boxes(self) -> np.ndarray:
        """``[B, 4]``, cut to the image."""
        return np.concatenate([np.zeros([0, 4], np.float32), *self._boxes])

    def counted(self) -> dict[str, Any]:
        """The numbers for JSON."""
        return {
            "examples": self._files.examples,
            "looked_at": len(self.per_image) + len(self.faults),
            "objects": sum(self.per_image),
            "crowds": self._crowds,
            "images_without_objects": self.per_image.count(0),
            "most_objects_in_an_image": max(self.per_image, default=0),
        }

    def words(self) -> str:
        """The same for people."""
        count = self.counted()
        images = max(1, len(self.per_image))
        text = f"{count['objects']:,} objects, {count['objects'] / images:.1f} an image and at most "
        text += f"{count['most_objects_in_an_image']:,}; {count['images_without_objects']:,} images without objects"
        return text + (f"; {self._crowds:,} crowds" if self._crowds else "")


def box_facts(boxes: BoxSizes) -> dict[str, Any]:
    """Sizes and cover of boxes for JSON; shares are None where there are no boxes."""
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
    """Two lines about boxes for people."""
    if not facts["compared"]:
        return ["boxes: there are none to train with"]
    low, middle, high = (facts["quantiles"]["root_of_area_px"][i] for i in (1, 3, 5))
    bands = [
        f"{band} {part['covered_by_no_anchor']:.1%} of {part['boxes']:,}"
        for band, part in facts["by_size"].items()
        if part["boxes"]
    ]
    return [
        f"boxes at {facts['image_size']} px: 5 % are below {low:.0f} px, half below {middle:.0f}, 95 % below "
        f"{high:.0f} (roots of areas)",
        f"covered by no anchor at {facts['image_size']} px (best overlap below {facts['enough_overlap']:g}): "
        f"{facts['covered_by_no_anchor']:.1%} of {facts['compared']:,} boxes; {', '.join(bands)}",
    ]
