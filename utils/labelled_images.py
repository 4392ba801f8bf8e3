"""Records of images with one label each, as classification reads them."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from utils.batching import Example, InputOptions, RecordDecoder
from utils.image_processing import eval_preprocess, train_preprocess

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


def decode_for_training(serialized: tf.Tensor, seed: tf.Tensor, options: InputOptions) -> Example:
    """A random part of the image, and its label."""
    encoded, label, boxes = parse_example(serialized)
    return _example(train_preprocess(encoded, boxes, seed, options.image_size, options.min_crop_area), label, options)


def decode_for_evaluation(serialized: tf.Tensor, options: InputOptions) -> Example:
    """The center of the image, and its label."""
    encoded, label, _ = parse_example(serialized)
    return _example(eval_preprocess(encoded, options.image_size), label, options)


def _example(image: tf.Tensor, label: tf.Tensor, options: InputOptions) -> Example:
    index = label - options.label_offset
    return Example(image, {"labels": tf.cast(index, tf.int32)}, (index >= 0) & (index < options.num_classes))


_TARGETS = {"labels": tf.TensorSpec([], tf.int32)}
LABELLED_IMAGES = RecordDecoder(
    train=decode_for_training, evaluate=decode_for_evaluation, train_targets=_TARGETS, eval_targets=_TARGETS
)
"""Targets "labels": the record's label minus the label offset."""
