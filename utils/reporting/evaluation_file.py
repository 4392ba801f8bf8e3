"""The file ``evaluation.json`` beside the log: the last evaluation of a run, for its report (no TF).

It is an object with these keys:

- ``format`` 1, ``task``, ``weights`` (the checkpoint's prefix), ``step``, ``metrics`` (as in the log);
- ``intervals``: lower and upper ends of the 95 % intervals of metrics, by log key; files of older versions have none;
- ``split``: a digest of the evaluated records, and ``per_image``: see ``utils.reporting.per_image``; likewise;
- ``latency_ms``: a histogram of the batch latencies, with ``edges`` of the bins, one more than ``counts``;
- ``pictures``: objects with ``index`` (the example's index in its split) and, if available, ``jpeg``, a small
  picture in base64;
- for a classifier: ``class_names`` (null if there are none) and the keys from ``runtime.classification.details``;
- for a classifier of images with several labels: ``class_names``, and the keys from
  ``runtime.classification.several_labels_evaluation``;
- for a detector: the keys from ``object_detection.coco.details``, and ``findings``, sentences about problems;
- ``errors`` of a detector, see ``object_detection.coco.error_details``, and ``error_pictures``, which are ``pictures``
  with the kind of their ``error``; files of older versions, and of large evaluations in training, have neither.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.files.atomic_file import write_atomically
from utils.files.json_values import typed, typed_list
from utils.metric_names import INTERVALS
from utils.reporting.per_image import PER_IMAGE

EVALUATION_NAME = "evaluation.json"
ERRORS, ERROR_PICTURES = "errors", "error_pictures"
FORMAT = 1
SEVERAL_LABELS = "several_labels"
"""The task of a classifier of images with several labels each."""
_BINS = 30
_CLASS_KEYS: dict[str, type] = {
    "id": int,
    "name": str,
    "objects": int,
    "detections": int,
    "average_precision": float,
    "right": int,
    "wrong": int,
    "missed": int,
}
_BOX_SIDES = 4
EXAMPLES = 8
"""Number of examples that an evaluation shows whatever their result."""


def examples_of(count: int, wanted: int = EXAMPLES) -> list[int]:
    """Chooses a few of ``count`` examples, evenly spaced, so that every evaluation shows the same ones."""
    return sorted({round(place) for place in np.linspace(0, count - 1, wanted)}) if count else []


def histogram(values: Sequence[float]) -> dict[str, list[float]]:
    """A histogram of finite numbers: edges and counts of bins of equal width; empty lists without numbers."""
    if not len(values):
        return {"edges": [], "counts": []}
    counts, edges = np.histogram(values, bins=_BINS)
    return {"edges": [float(edge) for edge in edges], "counts": [int(count) for count in counts]}


def write_evaluation(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes the file atomically.

    Raises:
        OSError: The file cannot be written.
        ValueError: The content is not valid JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT, **content}, ensure_ascii=True, allow_nan=False)
    write_atomically(folder / EVALUATION_NAME, text.encode("ascii") + b"\n")


def read_evaluation(path: Path) -> dict[str, Any]:
    """Reads the file and checks everything that a report relies on.

    Raises:
        OSError: The file cannot be read.
        ValueError: The content is invalid; the message says what is wrong.
    """
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    version = typed(content, "format", int)
    if version != FORMAT:
        raise ValueError(f"its format is {version}, and this version reads format {FORMAT}")
    typed(content, "step", int, optional=True)
    typed(content, "weights", str, optional=True)
    _check_numbers("metrics", typed(content, "metrics", dict))
    _check_intervals(content.get(INTERVALS, {}))
    typed(content, "split", str, optional=True)
    typed(content, PER_IMAGE, dict, optional=True)
    _check_histogram(typed(content, "latency_ms", dict))
    task = typed(content, "task", str)
    if task not in _CHECKS:
        raise ValueError(f'"task" is {task!r}, and must be one of {", ".join(_CHECKS)}')
    _CHECKS[task](content)
    return content


def _check_numbers(key: str, content: Mapping[str, Any]) -> None:
    for name in content:
        if not math.isfinite(typed(content, name, float)):
            raise ValueError(f'"{key}" has a number that is not finite')


def _check_intervals(content: Any) -> None:
    if not isinstance(content, dict):
        raise ValueError(f'"{INTERVALS}" is not an object')
    for name in content:
        ends = typed_list(content, name, float)
        if len(ends) != 2 or not all(map(math.isfinite, ends)):
            raise ValueError(f'"{INTERVALS}" has an interval without two ends')


def _check_histogram(content: Mapping[str, Any]) -> None:
    edges, counts = typed_list(content, "edges", float), typed_list(content, "counts", int)
    if len(edges) != (len(counts) + 1 if counts else 0):
        raise ValueError(f'"latency_ms" has {len(edges)} edges for {len(counts)} bins')


def _check_classification(content: Mapping[str, Any]) -> None:
    classes, pairs = typed_list(content, "classes", list), typed_list(content, "confusion", list)
    _check_rows("classes", classes, 3)
    _check_rows("confusion", pairs, 3)
    if any(not 0 <= number < len(classes) for pair in pairs for number in pair[:2]):
        raise ValueError(f'"confusion" has a class that is not one of the {len(classes)}')
    if "class_metrics" in content:
        _check_class_metrics(content)
    _check_rows("calibration", typed_list(content, "calibration", list), 3, int | float | None)
    if content.get("class_names") is not None:
        typed_list(content, "class_names", str)
    for picture in _pictures(content):
        for key in ("label", "answer"):
            typed(picture, key, int, least=0)
        for key in ("confidence", "of_label"):
            typed(picture, key, float)


def _check_class_metrics(content: Mapping[str, Any]) -> None:
    classes = content["classes"]
    _check_rows("class_metrics", typed_list(content, "class_metrics", list), 5, int | float | None)
    if len(content["class_metrics"]) != len(classes):
        raise ValueError(f'"class_metrics" has not one row for each of {len(classes)} classes')


def _check_several_labels(content: Mapping[str, Any]) -> None:
    _check_rows("classes", typed_list(content, "classes", list), 3)
    _check_class_metrics(content)
    if content.get("class_names") is not None:
        typed_list(content, "class_names", str)
    for picture in _pictures(content):
        rows = typed_list(picture, "classes", list)
        _check_rows("classes", rows, 3, int | float)
        if any(not isinstance(number, int) or number < 0 for number, _, _ in rows):
            raise ValueError('"classes" of a picture has a row that does not begin with a class')


def _check_detection(content: Mapping[str, Any]) -> None:
    typed(content, "operating_score", float)
    typed_list(content, "findings", str)
    for row in typed_list(content, "classes", dict):
        for key, kind in _CLASS_KEYS.items():
            typed(row, key, kind)
        if row.get("interval") is not None and len(typed_list(row, "interval", float)) != 2:
            raise ValueError('"interval" does not have two ends')
    for curve in typed_list(content, "curves", dict):
        typed(curve, "id", int)
        typed_list(curve, "precision", float)
    pairs, known = typed_list(content, "confusion", list), {None, *(row["id"] for row in content["classes"])}
    _check_rows("confusion", pairs, 3, int | None)
    if any(pair[0] not in known or pair[1] not in known or pair[2] is None for pair in pairs):
        raise ValueError('"confusion" has a category that is not one of "classes", or no count')
    _check_boxes(_pictures(content))
    if ERRORS in content:
        _check_errors(typed(content, ERRORS, dict), known)
        pictures = _pictures(content, ERROR_PICTURES)
        _check_boxes(pictures)
        for picture in pictures:
            typed(picture, "error", str)


def _check_boxes(pictures: Sequence[Mapping[str, Any]]) -> None:
    for picture in pictures:
        for key in ("image_id", "width", "height"):
            typed(picture, key, int)
        for box in typed_list(picture, "boxes", dict):
            typed(box, "kind", str)
            typed(box, "category", int)
            typed(box, "score", float, optional=True)
            if len(typed_list(box, "box", float)) != _BOX_SIDES:
                raise ValueError('a "box" does not have four sides')


def _check_errors(errors: Mapping[str, Any], known: Collection[int | None]) -> None:
    for key in ("foreground", "background", "average_precision"):
        typed(errors, key, float)
    kinds, ious = typed_list(errors, "kinds", dict), typed_list(errors, "ious", float)
    for row in kinds:
        typed(row, "kind", str)
        typed(row, "count", int)
        typed(row, "sure", int)
        typed(row, "cost", float, optional=True)
    by_iou = typed(errors, "by_iou", dict)
    for size in by_iou:
        _check_length(by_iou, size, len(ious))
    for row in typed_list(errors, "classes", dict):
        if typed(row, "id", int) not in known:
            raise ValueError(f'"{ERRORS}" has a category that is not one of "classes"')
        _check_length(row, "by_iou", len(ious))
        _check_length(row, "counts", len(kinds))
        _check_rows("costs", [typed(row, "costs", list)], len(kinds), int | float | None)
        _check_numbers("by_size", typed(row, "by_size", dict))


def _check_length(content: Mapping[str, Any], key: str, length: int) -> None:
    if len(typed_list(content, key, float)) != length:
        raise ValueError(f'"{key}" does not have {length} values')


def _pictures(content: Mapping[str, Any], key: str = "pictures") -> list[dict[str, Any]]:
    pictures = typed_list(content, key, dict)
    for picture in pictures:
        typed(picture, "index", int)
        typed(picture, "jpeg", str, optional=True)
    return pictures


def _check_rows(key: str, rows: Sequence[Sequence[Any]], width: int, kind: Any = int) -> None:
    for row in rows:
        if len(row) != width or not all(isinstance(value, kind) for value in row):
            raise ValueError(f'"{key}" has a row that is not one of {width} numbers')


_CHECKS = {
    "classification": _check_classification,
    SEVERAL_LABELS: _check_several_labels,
    "detection": _check_detection,
}
