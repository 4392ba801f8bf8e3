"""Pictures of a detector's evaluation with their boxes, as JSON values (no TF)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from object_detection.coco.errors import FALSE_KINDS, MISSED, Errors, not_found
from object_detection.coco.metrics import Groundtruth, Matches, Results
from object_detection.coco.tables import Comparison
from utils.reporting.evaluation_file import examples_of

PICTURES = 24
PICTURES_A_KIND = 4
_BOXES_A_PICTURE = 60
_DECIMALS = 6


class Pictures:
    """Chooses images and lists their boxes, each box marked as right, wrong, missed or an object.

    Args:
        comparison: Groundtruth and detections.
        matches: Their matches.
        indices: The place of each image in its split, by image id.
    """

    def __init__(self, comparison: Comparison, matches: Matches, indices: Mapping[int, int]) -> None:
        self._matches = matches
        self._indices = indices
        self._sizes = dict(zip(comparison.image_ids.tolist(), comparison.sizes_px.tolist(), strict=True))

    def worst_and_examples(self, threshold: float) -> dict[str, list[dict[str, Any]]]:
        """Returns images with their boxes.

        "pictures" are those with the most confident false alarms and those with the most missed objects, "examples" a
        sample of all images.

        Args:
            threshold: The score from which detections count.
        """
        matches = self._matches
        sure = matches.results.scores >= threshold
        missed = not_found(matches, sure)

        def entry(image: int) -> dict[str, Any]:
            here, there = matches.results.image_ids == image, matches.groundtruth.image_ids == image
            boxes = self._boxes("missed", matches.groundtruth.take(there & missed), image)
            for kind, flags in (("wrong", matches.wrong), ("right", matches.right)):
                boxes += self._boxes(kind, matches.results.take(here & sure & flags), image)
            return {**self._place(image), "boxes": boxes[:_BOXES_A_PICTURE]}

        in_order = sorted(self._indices, key=lambda image: self._indices[image])
        chosen = {
            "pictures": _worst(matches, sure & matches.wrong, missed),
            "examples": [in_order[place] for place in examples_of(len(in_order))],
        }
        return {name: [entry(image) for image in images] for name, images in chosen.items()}

    def of_errors(self, errors: Errors) -> list[dict[str, Any]]:
        """Returns the worst errors of each kind, one an image: the most confident, or the largest missed objects.

        An entry has the ``error``, the box of the detection with the object that it is judged by and, if that is a
        duplicate, the right detection; or the box of the missed object.
        """
        matches = self._matches
        entries = []
        for kind, name in enumerate(FALSE_KINDS):
            rows = np.flatnonzero(errors.kinds == kind)
            rows = rows[np.argsort(-matches.results.scores[rows], kind="stable")]
            for row in _one_an_image(rows, matches.results.image_ids):
                entries.append(self._of_error(name, row, errors.objects[row]))
        rows = np.flatnonzero(errors.missed(matches))
        rows = rows[np.argsort(-matches.groundtruth.areas_px[rows], kind="stable")]
        for row in _one_an_image(rows, matches.groundtruth.image_ids):
            image = int(matches.groundtruth.image_ids[row])
            boxes = self._boxes("missed", matches.groundtruth.take(np.array([row])), image)
            entries.append({"error": MISSED, **self._place(image), "boxes": boxes})
        return entries

    def _of_error(self, name: str, row: int, judged_by: int) -> dict[str, Any]:
        matches = self._matches
        image = int(matches.results.image_ids[row])
        boxes = self._boxes("wrong", matches.results.take(np.array([row])), image)
        if judged_by >= 0:
            boxes += self._boxes("object", matches.groundtruth.take(np.array([judged_by])), image)
        if name == "duplicate":
            boxes += self._boxes("right", matches.results.take(matches.right & (matches.objects == judged_by)), image)
        return {"error": name, **self._place(image), "boxes": boxes}

    def _place(self, image: int) -> dict[str, Any]:
        height, width = self._sizes[image]
        return {"image_id": image, "index": self._indices[image], "width": int(width), "height": int(height)}

    def _boxes(self, kind: str, table: Groundtruth | Results, image: int) -> list[dict[str, Any]]:
        """Converts boxes of an image to entries with ``[ymin, xmin, ymax, xmax]`` in [0, 1]."""
        full_height, full_width = self._sizes[image]
        x, y, width, height = (table.boxes_px / np.array([full_width, full_height] * 2)).T
        sides = np.round(np.stack([y, x, y + height, x + width], axis=1), _DECIMALS).tolist()
        scores = table.scores.tolist() if isinstance(table, Results) else [None] * len(sides)
        return [
            {"kind": kind, "category": category, "score": score, "box": box}
            for category, score, box in zip(table.category_ids.tolist(), scores, sides, strict=True)
        ]


def _one_an_image(rows: np.ndarray, image_ids: np.ndarray) -> list[int]:
    """Returns the first rows of different images."""
    _, firsts = np.unique(image_ids[rows], return_index=True)
    found: list[int] = rows[np.sort(firsts)[:PICTURES_A_KIND]].tolist()
    return found


def _worst(matches: Matches, alarms: np.ndarray, missed: np.ndarray) -> list[int]:
    """Returns ids of the images with the most confident false alarms, then of those with the most missed objects."""
    wrong = np.flatnonzero(alarms)
    images = matches.results.image_ids[wrong[np.argsort(-matches.results.scores[wrong], kind="stable")]].tolist()
    most_missed = Counter(matches.groundtruth.image_ids[missed].tolist()).most_common()
    chosen = list(dict.fromkeys(images))[: PICTURES // 2]
    return chosen + [image for image, _ in most_missed if image not in chosen][: PICTURES - len(chosen)]
