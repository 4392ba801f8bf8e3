"""Overlaps of anchors with boxes, and pictures of the anchors matched to objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

from object_detection.boxes import box_ops
from object_detection.drawing import class_color

tf1 = tf.compat.v1
_PAIRS_AT_ONCE = 2_000_000
_DIMMED = 0.55


def best_overlaps(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """The intersection over union ``[B]`` of each box ``[B, 4]`` with its best anchor."""
    with tf.Graph().as_default(), tf1.Session() as session:
        given = tf1.placeholder(tf.float32, [None, 4])
        best = tf.reduce_max(box_ops.iou(given, tf.constant(anchors)), axis=1)
        parts = np.array_split(boxes, -(-len(boxes) * len(anchors) // _PAIRS_AT_ONCE) or 1)
        return np.concatenate([session.run(best, {given: part}) for part in parts])


def draw_anchors(image: Image.Image, anchors: np.ndarray, classes: Sequence[int]) -> Image.Image:
    """A darker copy of a picture with anchors ``[P, 4]``: thin frames and center dots in the colors of their classes.

    Parts of anchors outside the picture are not drawn.
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
