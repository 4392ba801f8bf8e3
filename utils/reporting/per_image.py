"""The results of single images in the evaluation file, for tests between runs (no TF).

"per_image" holds packed arrays. For a classifier: "index", "label" and "answer" of each example. If images have several
labels: "index", and example by example "scores" and "truth" of all classes. For a detector: the ids of images and
categories, a row for each detection, and the number of objects by image and category.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from utils.files.json_values import typed
from utils.files.packed_arrays import packed, unpacked
from utils.statistics.detection_metrics import JudgedDetections

PER_IMAGE = "per_image"
_ANSWERS = ("index", "label", "answer")
_DETECTIONS = ("images", "categories", "scores", "right", "wrong")
_OBJECTS = ("object_images", "object_categories", "object_counts")
_THRESHOLDS = 10


def packed_detections(image_ids: np.ndarray, category_ids: np.ndarray, table: JudgedDetections) -> dict[str, Any]:
    """Packs the verdicts on a detector's results; the ids are those of the table's rows of images and categories."""
    bits = 1 << np.arange(_THRESHOLDS)
    images, categories = np.nonzero(table.objects)
    return packed(
        {
            "image_ids": image_ids,
            "category_ids": category_ids,
            "images": table.images,
            "categories": table.categories,
            "scores": table.scores,
            "right": bits @ table.right,
            "wrong": bits @ table.wrong,
            "object_images": images,
            "object_categories": categories,
            "object_counts": table.objects[images, categories],
        }
    )


def answers_of(evaluation: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns "index", "label" and "answer" ``[n]`` of a classifier's evaluation.

    Raises:
        ValueError: They are missing or damaged.
    """
    return unpacked(typed(evaluation, PER_IMAGE, dict), _ANSWERS)


def scores_of(evaluation: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns indices ``[n]``, scores ``[n, K]`` and labels ``[n, K]`` (bool) of images with several labels.

    Raises:
        ValueError: They are missing or damaged.
    """
    content, classes = typed(evaluation, PER_IMAGE, dict), len(evaluation["classes"])
    index = unpacked(content, ("index",))["index"]
    each = unpacked(content, ("scores", "truth"))
    if each["scores"].size != len(index) * classes:
        raise ValueError(f'"scores" has {each["scores"].size} numbers, and must have {classes} for each image')
    shape = (len(index), classes)
    return index, each["scores"].reshape(shape), each["truth"].reshape(shape) > 0


def detections_of(evaluation: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, JudgedDetections]:
    """Returns the image ids ``[I]``, the category ids ``[K]`` and the verdicts of a detector's evaluation.

    Raises:
        ValueError: They are missing or damaged.
    """
    content = typed(evaluation, PER_IMAGE, dict)
    image_ids, category_ids = (unpacked(content, (name,))[name] for name in ("image_ids", "category_ids"))
    rows, counts = unpacked(content, _DETECTIONS), unpacked(content, _OBJECTS)
    for of, ids in (("images", image_ids), ("categories", category_ids)):
        for places in (rows[of], counts[f"object_{of}"]):
            if places.size and (places.dtype.kind != "i" or places.min() < 0 or places.max() >= len(ids)):
                raise ValueError(f'"{of}" has a row that is not one of {len(ids)}')
    objects = np.zeros([len(image_ids), len(category_ids)], np.int64)
    objects[counts["object_images"], counts["object_categories"]] = counts["object_counts"]
    bits = np.arange(_THRESHOLDS)[:, np.newaxis]
    table = JudgedDetections(
        images=rows["images"].astype(np.int64),
        categories=rows["categories"].astype(np.int64),
        scores=rows["scores"],
        right=(rows["right"] >> bits & 1).astype(bool),
        wrong=(rows["wrong"] >> bits & 1).astype(bool),
        objects=objects,
    )
    return image_ids, category_ids, table
