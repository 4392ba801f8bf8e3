"""Detection's input: parsing of records of images with objects.

Record keys are those of TensorFlow's detection records: ``image/encoded``, ``image/source_id``,
``image/object/bbox/{ymin,xmin,ymax,xmax}``, ``image/object/class/{text,label}`` and
``image/object/{is_crowd,area,weight}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from object_detection.augmentation.instance_maps import MAP_SPEC, MAP_TARGET, instance_map, parse_masks
from object_detection.augmentation.mixing import DRAWS_SPEC, DRAWS_TARGET, mixing_draws
from object_detection.augmentation.preprocessing import DETECTION_TABLE, NumberedObjects, Objects, fitted_view
from object_detection.boxes import box_ops
from object_detection.class_table import ClassTable
from object_detection.records.object_records import (
    AREA_KEY,
    CROWD_KEY,
    LABEL_KEY,
    OBJECT_SCHEMA,
    OPTIONAL_KEYS,
    SOURCE_KEY,
    TEXT_KEY,
    WEIGHT_KEY,
)
from utils.image_processing import View, whole_view
from utils.image_sizes import sides_of
from utils.input.augmentation import augment_view, moved_pixels
from utils.input.batching import InputOptions, RecordDecoder, UndecodedExample
from utils.input.record_parsing import parse_features
from utils.object_augment_config import ObjectAugmentConfig
from utils.records.record_rules import BOX_KEYS, IMAGE_KEY

UNKNOWN = -1
NO_MIXING = ObjectAugmentConfig()

_TRAIN_TARGETS = {
    "groundtruth_boxes": tf.TensorSpec([None, 4], tf.float32),
    "groundtruth_slots": tf.TensorSpec([None], tf.int32),
    "groundtruth_weights": tf.TensorSpec([None], tf.float32),
    "groundtruth_ignored": tf.TensorSpec([None], tf.bool),
}
_EVAL_TARGETS = {
    "groundtruth_boxes": tf.TensorSpec([None, 4], tf.float32),
    "groundtruth_classes": tf.TensorSpec([None], tf.int32),
    "groundtruth_area": tf.TensorSpec([None], tf.float32),
    "groundtruth_is_crowd": tf.TensorSpec([None], tf.bool),
    "num_groundtruth": tf.TensorSpec([], tf.int32),
    "image_size": tf.TensorSpec([2], tf.int32),
    "source_id": tf.TensorSpec([], tf.string),
}


class ParsedRecord(NamedTuple):
    """One record, its objects in G rows; a list of another length counts as missing.

    Attributes:
        encoded: Bytes of the image.
        source_id: Bytes, the decimal id of the original image.
        boxes: ``[G, 4]`` float32.
        texts: ``[G]`` bytes, class names; empty if the record has none.
        labels: ``[G]`` int64, category ids; 0 if the record has none.
        crowds: ``[G]`` boolean.
        areas: ``[G]`` float32, px² of the original image; -1 if the record has none.
        weights: ``[G]`` float32; 1 if the record has none.
        even: Boolean scalar, true if each list has G values or none.
    """

    encoded: tf.Tensor
    source_id: tf.Tensor
    boxes: tf.Tensor
    texts: tf.Tensor
    labels: tf.Tensor
    crowds: tf.Tensor
    areas: tf.Tensor
    weights: tf.Tensor
    even: tf.Tensor


def parse_record(serialized: tf.Tensor) -> ParsedRecord:
    """Reads one serialized ``tf.train.Example``.

    Raises:
        tf.errors.InvalidArgumentError: The four lists of box sides differ in length (raised at run time).
    """
    parsed = parse_features(serialized, OBJECT_SCHEMA)
    boxes = tf.stack([parsed[key] for key in BOX_KEYS], axis=1)
    count = tf.shape(boxes)[0]

    def or_default(key: str, default: object) -> tf.Tensor:
        values = parsed[key]
        return tf.cond(tf.equal(tf.size(values), count), lambda: values, lambda: tf.fill([count], default))

    lengths = tf.stack([tf.size(parsed[key]) for key in OPTIONAL_KEYS])

    return ParsedRecord(
        encoded=parsed[IMAGE_KEY],
        source_id=parsed[SOURCE_KEY],
        boxes=boxes,
        texts=or_default(TEXT_KEY, ""),
        labels=or_default(LABEL_KEY, tf.constant(0, tf.int64)),
        crowds=tf.not_equal(or_default(CROWD_KEY, tf.constant(0, tf.int64)), 0),
        areas=or_default(AREA_KEY, -1.0),
        weights=or_default(WEIGHT_KEY, 1.0),
        even=tf.reduce_all(tf.equal(lengths, count) | tf.equal(lengths, 0)),
    )


def category_ids(record: ParsedRecord, table: ClassTable) -> tf.Tensor:
    """Returns the category of each object, ``[G]`` int32; ``UNKNOWN`` if name and label disagree or neither is known.

    The label decides if there is one, else the name; if there are both, they must be of the same category.
    """
    labels = tf.cast(tf.minimum(record.labels, tf.int32.max), tf.int32)
    by_text = _look_up(record.texts, [*table.texts, ""], list(table.texts.values()))
    named = tf.not_equal(record.texts, "")
    ids = tf.where(labels > 0, labels, by_text)
    agree = ~named | tf.equal(by_text, ids)
    known = tf.reduce_any(tf.equal(ids[:, tf.newaxis], tf.constant(table.ids, tf.int32)), axis=1)
    return tf.where(agree & known, ids, UNKNOWN)


def is_sound(record: ParsedRecord, ids: tf.Tensor) -> tf.Tensor:
    """Returns whether a record has even lists and usable objects.

    Each needs a known category, a box with an area inside the image, a finite area, and a weight of 0 or more.
    """
    ymin, xmin, ymax, xmax = tf.unstack(tf.clip_by_value(record.boxes, 0.0, 1.0), axis=1)
    placed = (ymax > ymin) & (xmax > xmin) & tf.reduce_all(tf.math.is_finite(record.boxes), axis=1)
    numbers = tf.math.is_finite(record.areas) & tf.math.is_finite(record.weights) & (record.weights >= 0)
    return record.even & tf.reduce_all(placed & numbers & tf.not_equal(ids, UNKNOWN))


def _look_up(keys: tf.Tensor, known: Sequence[object], values: Sequence[int]) -> tf.Tensor:
    """Returns the value of each key, ``[G]`` int32; ``UNKNOWN`` for the last of ``known`` and for any other key."""
    equal = tf.equal(keys[:, tf.newaxis], tf.constant(known, keys.dtype)[tf.newaxis])
    found = tf.argmax(tf.cast(equal, tf.int8), axis=1)
    return tf.where(tf.reduce_any(equal, axis=1), tf.gather(tf.constant([*values, UNKNOWN], tf.int32), found), UNKNOWN)


def _trained_objects(record: ParsedRecord, table: ClassTable, *, train_crowds: bool) -> tuple[Objects, tf.Tensor]:
    """The objects of a training record, none if it is unsound, and whether it is sound."""
    ids = category_ids(record, table)
    sound = is_sound(record, ids)
    ignored = tf.zeros_like(record.crowds) if train_crowds else record.crowds
    slots = _look_up(ids, [*table.ids, UNKNOWN], table.slots)
    objects = Objects(
        boxes=tf.clip_by_value(record.boxes, 0.0, 1.0),
        slots=slots,
        weights=tf.where(ignored, 0.0, record.weights),
        ignored=ignored,
    )
    return Objects(*(tf.boolean_mask(values, tf.fill(tf.shape(slots), sound)) for values in objects)), sound


def _map_of(
    objects: NumberedObjects, masks: tf.Tensor, view: View, seed: tf.Tensor, options: InputOptions
) -> tf.Tensor:
    """The map of the objects that a training image shows, from the masks of all objects of the record."""
    drawn = instance_map(tf.gather(masks, objects.numbers), objects.boxes, view, sides_of(options.image_size))
    return moved_pixels(drawn[..., tf.newaxis], seed, options.augmentation, DETECTION_TABLE)[..., 0]


def _mixing_targets(augment: ObjectAugmentConfig) -> dict[str, tf.TensorSpec]:
    draws = {DRAWS_TARGET: DRAWS_SPEC} if augment.mixes else {}
    return draws | ({MAP_TARGET: MAP_SPEC} if augment.copy_paste else {})


def _compared_targets(record: ParsedRecord, ids: tf.Tensor, size: tf.Tensor) -> dict[str, tf.Tensor]:
    """The targets of evaluation; ``size`` is the height and width of the image in pixels."""
    height, width = tf.unstack(tf.cast(size, tf.float32))
    box_areas = box_ops.area(record.boxes) * height * width
    targets = (
        record.boxes,
        ids,
        tf.where(record.areas < 0, box_areas, record.areas),
        record.crowds,
        tf.shape(ids)[0],
        size,
        record.source_id,
    )
    return dict(zip(_EVAL_TARGETS, targets, strict=True))


def detection_decoder(
    table: ClassTable, *, train_crowds: bool, augment: ObjectAugmentConfig = NO_MIXING
) -> RecordDecoder:
    """Returns the decoder that turns records into detection examples.

    Training targets fill ``groundtruth.Groundtruth``, evaluation targets go to ``coco.evaluation.CocoEvaluator``. A
    record is invalid if an object has an unknown category, or a box that is not finite or has no area inside the image.

    Args:
        table: The categories.
        train_crowds: Train on boxes around crowds as if they were objects.
        augment: The flags of augmentation. Some add what ``object_detection.augmentation.mixing`` reads to the training
            targets.
    """

    def for_training(serialized: tf.Tensor, seed: tf.Tensor, options: InputOptions) -> UndecodedExample:
        record = parse_record(serialized)
        trained, sound = _trained_objects(record, table, train_crowds=train_crowds)
        objects: Any = trained
        if augment.copy_paste:
            objects = NumberedObjects(*trained, numbers=tf.range(tf.size(trained.slots)))
        view = whole_view(record.encoded, options.image_size)
        view, objects = augment_view(view, objects, seed, options.augmentation, DETECTION_TABLE)
        targets = dict(zip(_TRAIN_TARGETS, objects[: len(_TRAIN_TARGETS)], strict=True))
        if augment.mixes:
            targets[DRAWS_TARGET] = mixing_draws(seed)
        if augment.copy_paste:
            masks = parse_masks(serialized, tf.shape(record.boxes)[0])
            targets[MAP_TARGET] = _map_of(objects, masks, view, seed, options)
        return UndecodedExample(view, targets, sound)

    def for_evaluation(serialized: tf.Tensor, options: InputOptions) -> UndecodedExample:
        record = parse_record(serialized)
        ids = category_ids(record, table)
        view = fitted_view(record.encoded, options.image_size, options.border)
        return UndecodedExample(view, _compared_targets(record, ids, view.window[2:]), is_sound(record, ids))

    return RecordDecoder(
        parse_for_training=for_training,
        parse_for_evaluation=for_evaluation,
        train_targets=_TRAIN_TARGETS | _mixing_targets(augment),
        eval_targets=_EVAL_TARGETS,
        steps=DETECTION_TABLE,
    )
