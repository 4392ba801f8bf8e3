"""Detection records become examples and batches, without losing an object."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from object_detection.input.input_pipeline import detection_decoder
from object_detection.records.object_records import fault_in
from tests.object_detection.detection_records import EXACT, FAULTS, GOOD, SOUND, TABLE, UNEVEN, detection_record
from tests.utils.input_records import encode, eval_input, noise, options, quick_session, train_input, write_files
from utils.input.augmentation_specs import CropSpec, FlipSpec
from utils.input.batching import STATUS_BAD_LABEL, STATUS_OK, STATUS_PADDING, STATUS_UNDECODABLE, Position, Shard
from utils.records.example_proto import decode_example

HEIGHT, WIDTH = 20, 24  # of every image, unless stated otherwise


@contextlib.contextmanager
def reader(mode, table=TABLE, *, train_crowds=False, augmentation=()):
    """Yields a function that reads one serialized record, always with the same seed."""
    decoder = detection_decoder(table, train_crowds=train_crowds)
    given = options(augmentation=augmentation)
    with tf.Graph().as_default(), quick_session() as session:
        serialized = tf.compat.v1.placeholder(tf.string, [])
        if mode == "train":
            example = decoder.train(serialized, tf.constant([3, 4], tf.int64), given)
        else:
            example = decoder.evaluate(serialized, given)
        yield session.make_callable(example, [serialized])


@pytest.fixture(scope="module")
def train():
    with reader("train") as read:
        yield read


@pytest.fixture(scope="module")
def evaluate():
    with reader("evaluate") as read:
        yield read


# Training


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_record_is_valid_in_both_modes(train, evaluate, name):
    assert train(SOUND[name]).valid
    assert evaluate(SOUND[name]).valid


@pytest.mark.parametrize("name", FAULTS)
def test_a_record_with_a_fault_is_not_valid_and_shows_no_object(train, evaluate, name):
    example = train(FAULTS[name][0])
    assert not example.valid
    assert all(len(values) == 0 for values in example.targets.values())
    assert not evaluate(FAULTS[name][0]).valid
    assert fault_in(decode_example(FAULTS[name][0]), TABLE)


def test_categories_come_from_labels_names_and_aliases(train):
    boxes = [GOOD] * 4
    for given in ({"label": [1, 7, 3, 7]}, {"text": ["cat", "bird", "/m/dog", "bird"]}):
        assert train(detection_record(boxes, **given)).targets["groundtruth_slots"].tolist() == [1, 7, 3, 7]
    mixed = detection_record(boxes, text=["", "bird", "/m/dog", ""], label=[1, 0, 3, 7])
    assert train(mixed).targets["groundtruth_slots"].tolist() == [1, 7, 3, 7]


def test_exact_slots_are_numbered_through():
    with reader("train", EXACT) as read:
        targets = read(detection_record([GOOD] * 3, label=[7, 1, 3])).targets
    assert targets["groundtruth_slots"].tolist() == [2, 0, 1]


def test_boxes_are_cut_to_the_image_and_weigh_one(train):
    targets = train(SOUND["partly outside"]).targets
    np.testing.assert_allclose(targets["groundtruth_boxes"], [(0, 0, 0.1, 1)], rtol=1e-6)
    assert targets["groundtruth_weights"].tolist() == [1]
    assert targets["groundtruth_ignored"].tolist() == [False]


def test_weights_of_records_count(train):
    record = detection_record([GOOD, GOOD], label=[1, 3], weight=[0.5, 2.0])
    assert train(record).targets["groundtruth_weights"].tolist() == [0.5, 2]


CROWD = detection_record([GOOD, GOOD, GOOD], label=[1, 3, 7], is_crowd=[0, 1, 0], weight=[1.0, 0.75, 0.5])


def test_crowds_are_ignored_regions(train):
    targets = train(CROWD).targets
    assert targets["groundtruth_weights"].tolist() == [1, 0, 0.5]
    assert targets["groundtruth_ignored"].tolist() == [False, True, False]
    assert targets["groundtruth_slots"].tolist() == [1, 3, 7]


def test_crowds_are_objects_where_that_is_asked_for():
    with reader("train", train_crowds=True) as read:
        targets = read(CROWD).targets
    assert targets["groundtruth_weights"].tolist() == [1, 0.75, 0.5]
    assert not targets["groundtruth_ignored"].any()


def test_the_whole_image_is_seen_where_nothing_is_augmented(train, evaluate):
    pixels = noise(3, 8, 8)
    record = detection_record([GOOD], label=[1], encoded=encode(pixels))
    for read in (train, evaluate):
        np.testing.assert_array_equal(read(record).image, pixels)


def test_augmentation_moves_boxes_and_drops_rows_of_all_lists_alike():
    record = detection_record(
        [(0.0, 0.0, 0.1, 0.1), (0.4, 0.4, 0.6, 0.6), (0.9, 0.9, 1.0, 1.0)], label=[1, 3, 7], weight=[0.25, 0.5, 0.75]
    )
    steps = (FlipSpec(), CropSpec(area=(0.3, 0.3), aspect_ratio=(1.0, 1.4), overlap=1.0))
    with reader("train", augmentation=steps) as read:
        targets = read(record).targets
    kept = targets["groundtruth_slots"].tolist()
    assert 0 < len(kept) < 3
    assert targets["groundtruth_weights"].tolist() == [{1: 0.25, 3: 0.5, 7: 0.75}[slot] for slot in kept]
    assert {len(values) for values in targets.values()} == {len(kept)}
    assert (targets["groundtruth_boxes"] >= 0).all()
    assert (targets["groundtruth_boxes"] <= 1).all()


# Evaluation


def test_evaluation_gets_what_the_evaluator_needs(evaluate):
    outside = (-0.1, 0.5, 0.5, 1.0)
    record = detection_record(
        [GOOD, outside], text=["cat", "bird"], area=[11.5, 12.5], is_crowd=[0, 1], source_id="139"
    )
    targets = evaluate(record).targets
    np.testing.assert_allclose(targets["groundtruth_boxes"], [GOOD, outside])
    assert targets["groundtruth_classes"].tolist() == [1, 7]
    assert targets["groundtruth_area"].tolist() == [11.5, 12.5]
    assert targets["groundtruth_is_crowd"].tolist() == [False, True]
    assert targets["num_groundtruth"] == 2
    assert targets["image_size"].tolist() == [HEIGHT, WIDTH]
    assert targets["source_id"] == b"139"


def test_without_an_area_that_of_the_box_counts(evaluate):
    targets = evaluate(detection_record([GOOD], label=[1])).targets
    np.testing.assert_allclose(targets["groundtruth_area"], [0.5 * HEIGHT * 0.25 * WIDTH], rtol=1e-6)


# Batches


def batches(build, steps=10**6):
    """Returns the next batches of an input, or all of them."""
    found = []
    with tf.Graph().as_default():
        data = build()
        with quick_session() as session:
            session.run(data.initializer)
            step = session.make_callable(data.batch)
            try:
                while len(found) < steps:
                    found.append(step())
            except tf.errors.OutOfRangeError:
                pass
    return found


def objects(count):
    """Returns a record with this many objects, each in its own place."""
    places = np.linspace(0, 0.9, count, endpoint=False)
    return detection_record([(y, 0.1, y + 0.05, 0.2) for y in places], label=[1] * count, source_id=str(count))


def evaluated(folder, records, **changes):
    decoder = detection_decoder(TABLE, train_crowds=False)
    return batches(lambda: eval_input(write_files(folder, records), decoder, options(**changes), Shard()))


def test_a_batch_is_as_wide_as_its_fullest_image_and_nothing_is_lost(tmp_path):
    counts = [2, 0, 150, 1, 3]
    first, second = evaluated(tmp_path, [objects(count) for count in counts])
    assert first.targets["groundtruth_boxes"].shape == (4, 150, 4)
    assert second.targets["groundtruth_boxes"].shape == (4, 3, 4)
    assert first.targets["num_groundtruth"].tolist() == counts[:4]
    for batch in (first, second):
        boxes, classes = batch.targets["groundtruth_boxes"], batch.targets["groundtruth_classes"]
        for row, count in enumerate(batch.targets["num_groundtruth"]):
            assert (classes[row, :count] == 1).all()
            assert not classes[row, count:].any()
            assert (boxes[row, :count, 2] > boxes[row, :count, 0]).all()
            assert not boxes[row, count:].any()
    assert second.status.tolist() == [STATUS_OK, *[STATUS_PADDING] * 3]


def test_images_without_objects_make_a_batch_too(tmp_path):
    (batch,) = evaluated(tmp_path, [objects(0)] * 4)
    assert batch.targets["groundtruth_boxes"].shape == (4, 0, 4)
    assert batch.status.tolist() == [STATUS_OK] * 4


def test_a_bad_record_keeps_its_place(tmp_path):
    records = [objects(2), FAULTS["an unknown name"][0], detection_record([GOOD], label=[3], encoded=b"no"), objects(1)]
    (batch,) = evaluated(tmp_path, records)
    assert batch.status.tolist() == [STATUS_OK, STATUS_BAD_LABEL, STATUS_UNDECODABLE, STATUS_OK]
    assert batch.index.tolist() == [0, 1, 2, 3]
    assert batch.targets["num_groundtruth"].tolist() == [2, 0, 0, 1]
    assert not batch.targets["groundtruth_boxes"][1:3].any()
    for row in (1, 2):
        assert any((batch.images[row] == batch.images[good]).all() for good in (0, 3))


@pytest.mark.parametrize("name", UNEVEN)
def test_a_record_whose_lists_differ_in_length_is_bad(name, tmp_path):
    (batch,) = evaluated(tmp_path, [UNEVEN[name][0], *[objects(1)] * 3])
    assert batch.status[0] in (STATUS_BAD_LABEL, STATUS_UNDECODABLE)
    assert batch.status.tolist()[1:] == [STATUS_OK] * 3
    assert batch.targets["num_groundtruth"].tolist() == [0, 1, 1, 1]


def test_training_batches_hold_every_object_of_every_record_once_an_epoch(tmp_path):
    records = [objects(count) for count in (0, 1, 2, 3, 4, 5, 6, 120)]
    decoder, given = detection_decoder(TABLE, train_crowds=False), options(augmentation=(FlipSpec(), CropSpec()))
    files = write_files(tmp_path, records, 2)
    found = batches(lambda: train_input(files, decoder, given, Shard(), Position()), steps=2)
    weights = np.concatenate([batch.targets["groundtruth_weights"].sum(axis=1) for batch in found])
    index = np.concatenate([batch.index for batch in found])
    assert sorted(index) == list(range(8))
    by_record = dict(zip(index.tolist(), weights.tolist(), strict=True))
    assert by_record[0] == 0
    assert by_record[7] > 100  # objects that the crop cuts away are missing
    assert max(batch.targets["groundtruth_boxes"].shape[1] for batch in found) == by_record[7]
