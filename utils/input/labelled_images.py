"""Records of images with one label each, as classification reads them."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from utils.image_processing import View, eval_view, train_view
from utils.input.batching import InputOptions, RecordDecoder, Sight

BOX_KEYS = tuple(f"image/object/bbox/{side}" for side in ("ymin", "xmin", "ymax", "xmax"))


class ParsedExample(NamedTuple):
    """One record: encoded bytes, int64 label as written, ``[G, 4]`` boxes ``[ymin, xmin, ymax, xmax]`` in [0, 1]."""

    encoded: tf.Tensor
    label: tf.Tensor
    boxes: tf.Tensor


def parse_example(serialized: tf.Tensor) -> ParsedExample:
    """Reads one serialized ``tf.train.Example``; a missing image is empty bytes, a missing label -1."""
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string, ""),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64, -1),
        **{key: tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True) for key in BOX_KEYS},
    }
    parsed = tf.io.parse_single_example(serialized, features)
    boxes = tf.stack([parsed[key] for key in BOX_KEYS], axis=1)
    return ParsedExample(parsed["image/encoded"], parsed["image/class/label"], boxes)


def see_for_training(serialized: tf.Tensor, seed: tf.Tensor, options: InputOptions) -> Sight:
    """A random part of the image, and its label."""
    encoded, label, boxes = parse_example(serialized)
    return _sight(train_view(encoded, boxes, seed, options.image_size, options.min_crop_area), label, options)


def see_for_evaluation(serialized: tf.Tensor, options: InputOptions) -> Sight:
    """The center of the image, and its label."""
    encoded, label, _ = parse_example(serialized)
    return _sight(eval_view(encoded, options.image_size), label, options)


def _sight(view: View, label: tf.Tensor, options: InputOptions) -> Sight:
    index = label - options.label_offset
    return Sight(view, {"labels": tf.cast(index, tf.int32)}, (index >= 0) & (index < options.num_classes))


_TARGETS = {"labels": tf.TensorSpec([], tf.int32)}
LABELLED_IMAGES = RecordDecoder(
    see_for_training=see_for_training,
    see_for_evaluation=see_for_evaluation,
    train_targets=_TARGETS,
    eval_targets=_TARGETS,
)
"""Targets "labels": the record's label minus the label offset."""
