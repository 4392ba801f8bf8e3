"""Groundtruth and results of a split as tables: from COCO's JSON, from batches of a network, and to JSON (no TF).

Boxes of tables and of JSON are ``[x, y, width, height]`` in pixels of the original image.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from object_detection.coco.metrics import Groundtruth, Results
from utils.errors import RunError

_PX_DECIMALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Groundtruth and detections of the same images, as tables to be compared.

    Attributes:
        image_ids: ``[I]`` int64, all evaluated images.
        sizes_px: ``[I, 2]`` float64, their heights and widths; NaN if unknown.
        categories: Names of the scored categories by id.
        groundtruth: All objects of these images, those of other categories included.
        results: All detections, those of other categories included.
    """

    image_ids: np.ndarray
    sizes_px: np.ndarray
    categories: Mapping[int, str]
    groundtruth: Groundtruth
    results: Results


def from_json(groundtruth: Any, results: Any) -> Comparison:
    """Builds tables from a COCO annotation file and a list of detections, both as ``json.load`` reads them.

    Annotations of images that are not listed are left out. An annotation without "iscrowd" is not a crowd, and one
    without "area" has the area of its box.

    Raises:
        RunError: A value is missing, is not a finite number, or an id comes twice; or a detection is of an image that
            is not listed.
    """
    if not isinstance(groundtruth, Mapping) or not {"images", "annotations", "categories"} <= set(groundtruth):
        raise RunError('groundtruth: must be an object with "images", "annotations" and "categories"')
    if not isinstance(results, list):
        raise RunError('results: must be a list of objects with "image_id", "category_id", "bbox" and "score"')
    images, annotations, categories = (groundtruth[key] for key in ("images", "annotations", "categories"))
    for what, entries in (("image", images), ("annotation", annotations), ("category", categories)):
        _check_unique(what, _column(f"groundtruth, {what}", entries, "id"))
    image_ids = _numbers("groundtruth, image", images, "id", np.int64)
    objects = _groundtruth(annotations)
    found = Results(
        image_ids=_numbers("results, entry", results, "image_id", np.int64),
        category_ids=_numbers("results, entry", results, "category_id", np.int64),
        boxes_px=_numbers("results, entry", results, "bbox", np.float64, width=4),
        scores=_numbers("results, entry", results, "score", np.float64),
    )
    _check_images(image_ids, found.image_ids)
    sides = [[image.get(side) for side in ("height", "width")] for image in images]
    known = [[side if isinstance(side, int | float) else np.nan for side in both] for both in sides]
    names = _column("groundtruth, category", categories, "name")
    return Comparison(
        image_ids=image_ids,
        sizes_px=np.array(known, np.float64).reshape(-1, 2),
        categories=dict(zip(_column("groundtruth, category", categories, "id"), names, strict=True)),
        groundtruth=objects.take(np.isin(objects.image_ids, image_ids)),
        results=found,
    )


def _groundtruth(annotations: Sequence[Mapping[str, Any]]) -> Groundtruth:
    what = "groundtruth, annotation"
    boxes = _numbers(what, annotations, "bbox", np.float64, width=4)
    with_area = [{"area": float(box[2] * box[3]), **one} for one, box in zip(annotations, boxes, strict=True)]
    return Groundtruth(
        image_ids=_numbers(what, annotations, "image_id", np.int64),
        category_ids=_numbers(what, annotations, "category_id", np.int64),
        boxes_px=boxes,
        areas_px=_numbers(what, with_area, "area", np.float64),
        crowds=np.array([entry.get("iscrowd", 0) for entry in annotations], bool),
    )


def _column(what: str, entries: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    try:
        return [entry[key] for entry in entries]
    except (KeyError, TypeError):
        row = next(n for n, entry in enumerate(entries) if not isinstance(entry, Mapping) or key not in entry)
        raise RunError(f'{what} {row} (counted from 0): has no "{key}"') from None


def _numbers(what: str, entries: Sequence[Mapping[str, Any]], key: str, dtype: type, width: int = 0) -> np.ndarray:
    """Returns the finite numbers under a key of each entry, ``[n]`` or ``[n, width]``."""
    values = _column(what, entries, key)
    for row, value in enumerate(values):
        numbers = value if width and isinstance(value, list) else [value]
        fits = len(numbers) == (width or 1) and all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
        if not fits or (dtype is np.int64 and not isinstance(value, int)):
            kind = f"{width} finite numbers" if width else "a whole number" if dtype is np.int64 else "a finite number"
            raise RunError(f'{what} {row} (counted from 0): "{key}" is {value!r}; must be {kind}')
    return np.array(values, dtype).reshape([-1, width] if width else [-1])


def _check_unique(what: str, ids: Sequence[Any]) -> None:
    for one, times in Counter(ids).most_common(1):
        if times > 1:
            raise RunError(f"groundtruth: {what} id {one} comes {times} times; ids must be unique")


def _check_images(known: np.ndarray, used: np.ndarray) -> None:
    strange = np.setdiff1d(used, known)
    if not strange.size:
        return
    if strange.size == np.unique(used).size:
        raise RunError(
            f"results: no image id is one of the groundtruth, which has {len(known)} images; the first unknown one is "
            f"{strange[0]}; are they of another split?"
        )
    raise RunError(f"results: image id {strange[0]} is not in the groundtruth ({strange.size} such ids)")


def to_pixels(boxes: np.ndarray, sizes_px: np.ndarray) -> np.ndarray:
    """Converts boxes to ``[x, y, width, height]`` in pixels, rounded to thousandths.

    Args:
        boxes: ``[n, 4]``, ``[ymin, xmin, ymax, xmax]`` in [0, 1].
        sizes_px: ``[n, 2]``, height and width of each box's image.
    """
    ymin, xmin, ymax, xmax = boxes.astype(np.float64).T
    height, width = sizes_px.astype(np.float64).T
    pixels = np.stack([xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height], axis=1)
    return round_px(pixels)


def round_px(values: np.ndarray) -> np.ndarray:
    """Rounds to thousandths, which float32 in [0, 1] still resolves for images of several thousand pixels."""
    return np.round(values.astype(np.float64), _PX_DECIMALS)


def shortest(scores: np.ndarray) -> np.ndarray:
    """Converts each float32 to the float64 with the fewest digits that identifies it: 0.9, not 0.8999999762."""
    return scores.astype(np.float32).astype("U32").astype(np.float64)


def results_json(comparison: Comparison) -> bytes:
    """Writes the detections of scored categories in the format of the COCO server: by image, one per line."""
    found = comparison.results
    found = found.take(np.isin(found.category_ids, list(comparison.categories)))
    found = found.take(np.argsort(found.image_ids, kind="stable"))
    columns = (found.image_ids, found.category_ids, found.boxes_px, found.scores)
    lines = [
        f'{{"image_id": {image}, "category_id": {category}, "bbox": {box}, "score": {score}}}'
        for image, category, box, score in zip(*(column.tolist() for column in columns), strict=True)
    ]
    return ("[" + ",\n".join(lines) + "]\n").encode("ascii")
