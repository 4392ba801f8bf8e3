"""Records of images with one label each, or with several, for classification."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from utils.augment_config import UNIFORM
from utils.image_processing import View, cropped, eval_view, mirrored_if, random_window, uniform_window, whole_view
from utils.image_sizes import side_of
from utils.input.augmentation import PHOTOMETRIC_STEPS, GeometricStep, StepTable, augment_view
from utils.input.augmentation_specs import CropSpec, FlipSpec
from utils.input.batching import InputOptions, RecordDecoder, UndecodedExample
from utils.input.record_parsing import parse_features
from utils.records.label_records import LABEL_KEY, LABEL_SCHEMA, SEVERAL_LABELS_SCHEMA
from utils.records.record_rules import BOX_KEYS, IMAGE_KEY, Schema


class ParsedExample(NamedTuple):
    """One record: encoded bytes, labels as stored, ``[G, 4]`` boxes ``[ymin, xmin, ymax, xmax]`` in [0, 1].

    ``label`` is int64, a scalar, or ``[L]`` where an image may have several.
    """

    encoded: tf.Tensor
    label: tf.Tensor
    boxes: tf.Tensor


def parse_example(serialized: tf.Tensor, schema: Schema = LABEL_SCHEMA) -> ParsedExample:
    """Parses one serialized ``tf.train.Example``; a missing image becomes empty bytes, a missing single label -1."""
    parsed = parse_features(serialized, schema)
    boxes = tf.stack([parsed[key] for key in BOX_KEYS], axis=1)
    return ParsedExample(parsed[IMAGE_KEY], parsed[LABEL_KEY], boxes)


def _random_crop(view: View, boxes: tf.Tensor, seed: tf.Tensor, spec: CropSpec) -> tuple[View, tf.Tensor]:
    """A random crop that covers the spec's fraction of some box, if there are boxes.

    Differs from the original: for an image without boxes, that took the whole image as the box. So it never cropped to
    less than a tenth, whatever the smallest area.
    """
    if spec.sampling == UNIFORM:
        return cropped(view, uniform_window(view.window[2:], seed, spec)), boxes[:0]
    boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    # The sampling op rejects an image because of one degenerate box, and real records contain such boxes.
    boxes = tf.boolean_mask(boxes, (ymin < ymax) & (xmin < xmax))
    covered = tf.where(tf.size(boxes) > 0, spec.min_object_covered, 0.0)
    part, _ = random_window(view.window[2:], boxes, seed, spec, covered)
    return cropped(view, part), boxes[:0]


def _random_flip(view: View, boxes: tf.Tensor, seed: tf.Tensor, spec: FlipSpec) -> tuple[View, tf.Tensor]:
    """Flips left to right with probability 1/2."""
    return mirrored_if(view, tf.random.stateless_uniform([], seed) < 0.5), boxes[:0]


_STEPS: StepTable = {
    CropSpec: GeometricStep(_random_crop),
    FlipSpec: GeometricStep(_random_flip),
    **PHOTOMETRIC_STEPS,
}
"""The steps for classification. Boxes refer to the whole image: the first geometric step uses and drops them."""


def parse_for_training(serialized: tf.Tensor, seed: tf.Tensor, options: InputOptions) -> UndecodedExample:
    """The geometrically augmented view of the image, and its label."""
    record = parse_example(serialized)
    return _with_label(_training_view(record, seed, options), record.label, options)


def _training_view(record: ParsedExample, seed: tf.Tensor, options: InputOptions) -> View:
    view = whole_view(record.encoded, options.image_size)
    return augment_view(view, record.boxes, seed, options.augmentation, _STEPS)[0]


def parse_for_evaluation(serialized: tf.Tensor, options: InputOptions) -> UndecodedExample:
    """The center of the image and its label."""
    encoded, label, _ = parse_example(serialized)
    return _with_label(eval_view(encoded, side_of(options.image_size), options.eval_crop), label, options)


def _with_label(view: View, label: tf.Tensor, options: InputOptions) -> UndecodedExample:
    index = label - options.label_offset
    valid = (index >= 0) & (index < options.num_classes)
    return UndecodedExample(view, {"labels": tf.cast(index, tf.int32)}, valid)


_TARGETS = {"labels": tf.TensorSpec([], tf.int32)}
LABELLED_IMAGES = RecordDecoder(
    parse_for_training=parse_for_training,
    parse_for_evaluation=parse_for_evaluation,
    train_targets=_TARGETS,
    eval_targets=_TARGETS,
    steps=_STEPS,
)
"""Targets "labels": the record's label minus the label offset."""


def images_with_labels(num_classes: int) -> RecordDecoder:
    """Targets "labels": ``[num_classes]`` float32, 1 for each label of the record."""

    def for_training(serialized: tf.Tensor, seed: tf.Tensor, options: InputOptions) -> UndecodedExample:
        record = parse_example(serialized, SEVERAL_LABELS_SCHEMA)
        return _with_labels(_training_view(record, seed, options), record.label, options)

    def for_evaluation(serialized: tf.Tensor, options: InputOptions) -> UndecodedExample:
        record = parse_example(serialized, SEVERAL_LABELS_SCHEMA)
        return _with_labels(eval_view(record.encoded, side_of(options.image_size)), record.label, options)

    targets = {"labels": tf.TensorSpec([num_classes], tf.float32)}
    return RecordDecoder(
        parse_for_training=for_training,
        parse_for_evaluation=for_evaluation,
        train_targets=targets,
        eval_targets=targets,
        steps=_STEPS,
    )


def _with_labels(view: View, labels: tf.Tensor, options: InputOptions) -> UndecodedExample:
    index = labels - options.label_offset
    valid = tf.reduce_all((index >= 0) & (index < options.num_classes))
    there = tf.reduce_any(tf.equal(index[:, tf.newaxis], tf.range(options.num_classes, dtype=tf.int64)), axis=0)
    return UndecodedExample(view, {"labels": tf.cast(there, tf.float32)}, valid)
