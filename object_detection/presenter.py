"""Presentation of detections: boxes in pixels with names and scores, and pictures with the boxes drawn in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from object_detection.drawing import draw_detections
from utils.errors import RunError
from utils.images.lettering import MISSED, RIGHT, WRONG

_COLORS = {"wrong": WRONG, "right": RIGHT, "missed": MISSED}


class BoxPresenter:
    """Lists the detections of an image, best first.

    Args:
        names: Names by category id.
        min_score: Detections with a lower score are left out.
    """

    draws = True
    columns = ("category_id", "name", "score", "ymin", "xmin", "ymax", "xmax")

    def __init__(self, names: Mapping[int, str], min_score: float) -> None:
        self._names = names
        self._min_score = min_score

    def entries(self, arrays: Mapping[str, np.ndarray], size_px: tuple[int, int]) -> list[dict[str, Any]]:
        """Returns category, name, score and box: ``[ymin, xmin, ymax, xmax]`` relative to the image, and in pixels.

        Raises:
            RunError: A score or box is not finite.
        """
        count = int(arrays["num_detections"])
        boxes, scores = arrays["detection_boxes"][:count], arrays["detection_scores"][:count]
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise RunError("the network's boxes are not finite: the weights are damaged")
        return [
            {
                "category_id": int(category),
                "name": self._names[int(category)],
                "score": round(float(score), 6),
                "box": [round(float(side), 6) for side in box],
                "box_px": [round(float(side) * length, 2) for side, length in zip(box, size_px * 2, strict=True)],
            }
            for box, score, category in zip(boxes, scores, arrays["detection_classes"], strict=False)
            if score >= self._min_score
        ]

    def rows(self, entries: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """Returns one row per detection."""
        return [[entry["category_id"], entry["name"], entry["score"], *entry["box"]] for entry in entries]

    def line(self, entries: Sequence[Mapping[str, Any]]) -> str:
        if not entries:
            return f"nothing with a score of {self._min_score:g} or more"
        return "  ".join(f"{entry['name']} {entry['score']:.4f}" for entry in entries)

    def picture(self, image: Image.Image, entries: Sequence[Mapping[str, Any]]) -> Image.Image:
        """Returns a copy of the image with boxes, names and scores."""
        boxes = np.array([entry["box"] for entry in entries], np.float32).reshape(-1, 4)
        names, scores, classes = ([entry[key] for entry in entries] for key in ("name", "score", "category_id"))
        return draw_detections(image, boxes, names, scores, classes=classes)

    def example(self, image: Image.Image, entry: Mapping[str, Any]) -> Image.Image:
        """Returns a copy of an evaluated image: right boxes in green, false alarms in red, missed objects in amber."""
        boxes = np.array([box["box"] for box in entry["boxes"]], np.float32).reshape(-1, 4)
        names = [
            f"{self._names[box['category']]} {'missed' if box['score'] is None else format(box['score'], '.2f')}"
            for box in entry["boxes"]
        ]
        classes, colors = [box["category"] for box in entry["boxes"]], [_COLORS[box["kind"]] for box in entry["boxes"]]
        return draw_detections(image, boxes, names, classes=classes, colors=colors)
