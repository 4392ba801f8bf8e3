"""Descriptions of faults in detection records, for error messages."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from object_detection.class_table import ClassTable
from object_detection.object_records import BOX_KEYS, LABEL_KEY, OPTIONAL_KEYS, TEXT_KEY, fault_of_category


def fault_in(serialized: bytes, table: ClassTable) -> str:
    """Describes why a record is invalid: lists of different lengths, or the first object with a bad box or category.

    The rules are those of ``input_pipeline.category_ids`` and ``input_pipeline.is_sound``.
    """
    features = tf.train.Example.FromString(serialized).features.feature
    uneven = uneven_lists(serialized)
    if uneven:
        return uneven
    boxes = np.array([features[key].float_list.value for key in BOX_KEYS], np.float32).T
    source = features["image/source_id"].bytes_list.value
    image = f"image {source[0].decode(errors='replace')}, " if source and source[0] else ""
    texts = [text.decode(errors="replace") for text in features[TEXT_KEY].bytes_list.value]
    labels = list(features[LABEL_KEY].int64_list.value)
    for number, box in enumerate(boxes):
        text = texts[number] if len(texts) == len(boxes) else ""
        label = labels[number] if len(labels) == len(boxes) else 0
        fault = fault_of_category(text, label, table) or _fault_of_box(box)
        if fault:
            return f"{image}object {number}: {fault}"
    return f"{image}its objects do not fit the label map"


def uneven_lists(serialized: bytes) -> str:
    """Describes lists of objects that differ in length, which make a record unreadable; empty if there are none."""
    features = tf.train.Example.FromString(serialized).features.feature
    lengths = {key: _length(features[key]) for key in (*BOX_KEYS, *OPTIONAL_KEYS)}
    lengths = {key: length for key, length in lengths.items() if length or key in BOX_KEYS}
    if len(set(lengths.values())) == 1:
        return ""
    return f"its lists differ in length: {', '.join(f'{key} has {length}' for key, length in lengths.items())}"


def _length(feature: tf.train.Feature) -> int:
    kind = feature.WhichOneof("kind")
    return len(getattr(feature, kind).value) if kind else 0


def _fault_of_box(box: np.ndarray) -> str:
    ymin, xmin, ymax, xmax = np.clip(box, 0.0, 1.0)
    shown = "[" + ", ".join(f"{value:g}" for value in box) + "]"
    if not np.isfinite(box).all():
        return f"its box [ymin, xmin, ymax, xmax] {shown} is not finite"
    if ymax <= ymin or xmax <= xmin:
        return f"its box [ymin, xmin, ymax, xmax] {shown} has no area inside the image"
    return ""
