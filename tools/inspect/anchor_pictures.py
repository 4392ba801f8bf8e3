"""Objects as they are stored, how well anchors cover them, and pictures of which anchors stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

from object_detection import box_ops
from object_detection.class_table import ClassTable
from object_detection.drawing import class_color
from object_detection.object_records import BOX_KEYS, CROWD_KEY, categories_of, uneven
from utils.errors import RunError
from utils.records.example_proto import Values

tf1 = tf.compat.v1
_PAIRS_AT_ONCE = 2_000_000
_DIMMED = 0.55


class StoredObjects(NamedTuple):
    """The objects of one record, G rows each.

    Attributes:
        boxes: ``[G, 4]`` float32, ``[ymin, xmin, ymax, xmax]`` as stored.
        categories: ``[G]``, category ids.
        crowds: ``[G]`` boolean.
    """

    boxes: np.ndarray
    categories: np.ndarray
    crowds: np.ndarray


def stored_objects(features: Mapping[str, Values], table: ClassTable) -> StoredObjects:
    """The objects of a record.

    Raises:
        RunError: One of them cannot be trained with; says which and why, as training would.
    """
    fault = uneven(features)
    if fault:
        raise RunError(fault)
    boxes = np.array([features.get(key, []) for key in BOX_KEYS], np.float32).reshape(4, -1).T
    found = categories_of(features, len(boxes), table)
    ymin, xmin, ymax, xmax = np.clip(boxes, 0.0, 1.0).T
    placed = np.isfinite(boxes).all(axis=1) & (ymax > ymin) & (xmax > xmin)
    for number, (_, why) in enumerate(found):
        if why or not placed[number]:
            shown = ", ".join(f"{side:g}" for side in boxes[number])
            why = why or f"its box [ymin, xmin, ymax, xmax] [{shown}] has no area inside the image"
            raise RunError(f"object {number}: {why}")
    crowds = features.get(CROWD_KEY) or [0] * len(boxes)
    return StoredObjects(boxes, np.array([category for category, _ in found], int), np.array(crowds, int) != 0)


def best_overlaps(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """The intersection over union of each box ``[B, 4]`` with the anchor that overlaps it most, ``[B]``."""
    with tf.Graph().as_default(), tf1.Session() as session:
        given = tf1.placeholder(tf.float32, [None, 4])
        best = tf.reduce_max(box_ops.iou(given, tf.constant(anchors)), axis=1)
        parts = np.array_split(boxes, -(-len(boxes) * len(anchors) // _PAIRS_AT_ONCE) or 1)
        return np.concatenate([session.run(best, {given: part}) for part in parts])


def draw_anchors(image: Image.Image, anchors: np.ndarray, classes: Sequence[int]) -> Image.Image:
    """A darker copy of a picture with anchors ``[P, 4]``: thin frames and middles in the colors of their classes.

    What of an anchor lies outside of the picture is not seen.
    """
    picture = image.convert("RGB").point(lambda value: value * _DIMMED)
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    for (ymin, xmin, ymax, xmax), number in zip(anchors.tolist(), classes, strict=True):
        color = class_color(number)
        left, top, right, bottom = xmin * width, ymin * height, xmax * width - 1, ymax * height - 1
        draw.rectangle((left, top, right, bottom), outline=color, width=1)
        middle = ((left + right) / 2, (top + bottom) / 2)
        draw.ellipse((middle[0] - 2, middle[1] - 2, middle[0] + 2, middle[1] + 2), fill=color)
    return picture
