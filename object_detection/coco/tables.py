"""Groundtruth and results of a split as tables: from COCO's JSON, from batches of a network, and to JSON (no TF).

Boxes of tables and of JSON are ``[x, y, width, height]`` in pixels of the original image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from object_detection.coco.metrics import Groundtruth, Results
from utils.errors import RunError
from utils.files.json_values import shortened
from utils.text import plural

_PX_DECIMALS = 3
_SIDES = 4
_INT64 = range(-(2**63), 2**63)
_WHOLE = "a whole number of at most 64 bits"
_LARGEST_WHOLE = 2**1000
"""A bound of whole numbers that become float64; the largest is just below 2 to the power of 1024."""


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


def from_json(groundtruth: Any, results: Any, names: tuple[str, str] = ("groundtruth", "results")) -> Comparison:
    """Builds tables from a COCO annotation file and a list of detections, both as ``json.load`` reads them.

    Annotations of images that are not listed are left out. An annotation without "iscrowd" is not a crowd, and one
    without "area" has the area of its box.

    Args:
        groundtruth: The annotations.
        results: The detections.
        names: The names of the two in messages.

    Raises:
        RunError: A value is missing or of another type, a number is not finite, or an id comes twice; or a detection is
            of an image that is not listed.
    """
    if isinstance(groundtruth, list) and isinstance(results, Mapping):
        raise RunError(f"{names[0]}: holds a list, and {names[1]} an object: the two files are in the wrong order")
    if not isinstance(groundtruth, Mapping) or not {"images", "annotations", "categories"} <= set(groundtruth):
        raise RunError(f'{names[0]}: must be an object with "images", "annotations" and "categories"')
    if not isinstance(results, list):
        raise RunError(f'{names[1]}: must be a list of objects with "image_id", "category_id", "bbox" and "score"')
    images, annotations, categories = (
        _Entries(f"{names[0]}, {what}", _list(groundtruth[key], f'{names[0]}: "{key}"'))
        for what, key in (("image", "images"), ("annotation", "annotations"), ("category", "categories"))
    )
    image_ids, _, category_ids = (_unique_ids(entries) for entries in (images, annotations, categories))
    objects = _groundtruth(annotations)
    detections = _Entries(f"{names[1]}, entry", results)
    found = Results(
        image_ids=detections.whole("image_id"),
        category_ids=detections.whole("category_id"),
        boxes_px=detections.boxes("bbox"),
        scores=detections.finite("score"),
    )
    _check_images(image_ids, found.image_ids, names)
    return Comparison(
        image_ids=image_ids,
        sizes_px=np.stack([images.known("height"), images.known("width")], axis=1),
        categories=dict(zip(category_ids.tolist(), categories.texts("name"), strict=True)),
        groundtruth=objects.take(np.isin(objects.image_ids, image_ids)),
        results=found,
    )


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise RunError(f"{what} is {shortened(value)}; must be a list")
    return value


def _groundtruth(annotations: _Entries) -> Groundtruth:
    boxes = annotations.boxes("bbox")
    areas = annotations.finite("area", default=boxes[:, 2] * boxes[:, 3])
    return Groundtruth(
        image_ids=annotations.whole("image_id"),
        category_ids=annotations.whole("category_id"),
        boxes_px=boxes,
        areas_px=areas,
        crowds=annotations.flags("iscrowd"),
    )


class _Entries:
    """The columns of a list of JSON objects; each method raises ``RunError`` for the first value of another type."""

    def __init__(self, what: str, entries: Sequence[Any]) -> None:
        self._what = what
        self._entries = entries
        for row, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise RunError(f"{what} {row} (counted from 0): is {shortened(entry)}; must be an object")

    def whole(self, key: str) -> np.ndarray:
        """Whole numbers of 64 bits, ``[n]``."""
        values = self._column(key)
        self._require(key, values, [type(value) is int and value in _INT64 for value in values], _WHOLE)
        return np.array(values, np.int64)

    def finite(self, key: str, default: np.ndarray | None = None) -> np.ndarray:
        """Finite numbers, ``[n]``; ``default`` has those of entries without the key."""
        values = self._column(key) if default is None else self._column_or(key, default.tolist())
        self._require(key, values, [_is_finite(value) for value in values], "a finite number")
        return np.array(values, np.float64)

    def boxes(self, key: str) -> np.ndarray:
        """Lists of four finite numbers, ``[n, 4]``."""
        values = self._column(key)
        fit = [type(box) is list and len(box) == _SIDES and all(map(_is_finite, box)) for box in values]
        self._require(key, values, fit, f"{_SIDES} finite numbers")
        return np.array(values, np.float64).reshape(-1, _SIDES)

    def flags(self, key: str) -> np.ndarray:
        """0 or 1 as bool, ``[n]``; false without the key."""
        values = self._column_or(key, [0] * len(self._entries))
        self._require(key, values, [value in (0, 1) for value in values], "0 or 1")
        return np.array(values, bool)

    def known(self, key: str) -> np.ndarray:
        """Finite numbers, ``[n]``; NaN in place of all other values."""
        values = [entry.get(key) for entry in self._entries]
        return np.array([value if _is_finite(value) else np.nan for value in values], np.float64)

    def texts(self, key: str) -> list[str]:
        """Texts."""
        values = self._column(key)
        self._require(key, values, [type(value) is str for value in values], "a text")
        return values

    def place(self, row: int) -> str:
        """The words that name an entry."""
        return f"{self._what} {row} (counted from 0)"

    def _column(self, key: str) -> list[Any]:
        try:
            return [entry[key] for entry in self._entries]
        except KeyError:
            row = next(row for row, entry in enumerate(self._entries) if key not in entry)
            raise RunError(f'{self.place(row)}: has no "{key}"') from None

    def _column_or(self, key: str, defaults: Sequence[Any]) -> list[Any]:
        return [entry.get(key, default) for entry, default in zip(self._entries, defaults, strict=True)]

    def _require(self, key: str, values: Sequence[Any], fit: Sequence[bool], kind: str) -> None:
        if not all(fit):
            row = fit.index(False)
            raise RunError(f'{self.place(row)}: "{key}" is {shortened(values[row])}; must be {kind}')


def _is_finite(value: Any) -> bool:
    """Returns whether a value of JSON is a number that float64 can hold."""
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < _LARGEST_WHOLE)


def _unique_ids(entries: _Entries) -> np.ndarray:
    ids = entries.whole("id")
    unique, firsts, counts = np.unique(ids, return_index=True, return_counts=True)
    if len(unique) < len(ids):
        repeated = counts.argmax()
        raise RunError(
            f"{entries.place(firsts[repeated])}: its id {unique[repeated]} comes {counts[repeated]} times; ids must be "
            "unique"
        )
    return ids


def _check_images(known: np.ndarray, used: np.ndarray, names: tuple[str, str]) -> None:
    strange = np.setdiff1d(used, known)
    if not strange.size:
        return
    shift = next((shift for shift in (1, -1) if np.isin(used + shift, known).all()), None)
    why = "" if shift is None else f"; each of its image ids {shift:+} is: check where the ids begin"
    if strange.size == np.unique(used).size:
        raise RunError(
            f"{names[1]}: no image id is in {names[0]}, which has {plural(len(known), 'image')}; the first unknown one "
            f"is {strange[0]}{why or '; is it of another split?'}"
        )
    raise RunError(f"{names[1]}: {plural(strange.size, 'image id')} not in {names[0]}, such as {strange[0]}{why}")


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
