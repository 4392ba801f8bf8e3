"""Descriptions of faulty records agree with the input's own checks."""

import itertools

import pytest
import tensorflow as tf

from object_detection.input.input_pipeline import category_ids, is_sound, parse_record
from object_detection.records.object_records import OPTIONAL_KEYS, has_objects, image_numbers
from object_detection.records.object_records import fault_in as fault_of
from tests.object_detection.detection_records import FAULTS, GOOD, NAN, SOUND, TABLE, UNEVEN, detection_record
from tests.utils.input_records import quick_session, write_files
from utils.records.example_proto import decode_example
from utils.records.record_rules import BOX_KEYS
from utils.records.record_rules import uneven_lists as uneven


def fault_in(record, table):
    """The text of the fault of a serialized record, or empty."""
    fault = fault_of(decode_example(record), table)
    return "" if fault is None else fault.text


def uneven_lists(record):
    return uneven(decode_example(record), BOX_KEYS, OPTIONAL_KEYS)


@pytest.fixture(scope="module")
def sound():
    """Returns a function that tells whether the input accepts a record."""
    with tf.Graph().as_default(), quick_session() as session:
        serialized = tf.compat.v1.placeholder(tf.string, [])
        record = parse_record(serialized)
        yield session.make_callable(is_sound(record, category_ids(record, TABLE)), [serialized])


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_named_and_the_record_is_not_trained(name, sound):
    record, expected = FAULTS[name]
    fault = fault_in(record, TABLE)
    assert fault.startswith("image 42, object ")
    assert expected in fault
    assert not sound(record)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_record_is_trained(name, sound):
    assert sound(SOUND[name])
    assert fault_in(SOUND[name], TABLE) == ""


def test_words_and_input_agree_on_every_combination(sound):
    texts, labels = ("", "cat", "/m/dog", "lion"), (-1, 0, 1, 2, 3, 2**32 + 3)
    boxes = (GOOD, (-0.5, 0.0, 0.25, 2.0), (0.5, 0.5, 0.5, 1.0), (0.9, 1.0, 1.0, 1.5), (NAN, 0.0, 1.0, 1.0))
    verdicts = set()
    for text, label, box in itertools.product(texts, labels, boxes):
        record = detection_record([GOOD, box], text=["dog", text], label=[3, label])
        fault = fault_in(record, TABLE)
        assert sound(record) == (fault == ""), (text, label, box, fault)
        verdicts.add(fault == "")
        assert fault == "" or "object 1: " in fault
    assert verdicts == {True, False}


@pytest.mark.parametrize("name", UNEVEN)
def test_lists_of_different_lengths_are_counted(name):
    record, counted = UNEVEN[name]
    message = uneven_lists(record)
    assert message.startswith("its lists differ in length: image/object/bbox/ymin has ")
    assert f"image/object/{counted}" in message


@pytest.mark.parametrize("name", [name for name in UNEVEN if name != "a side of boxes"])
def test_a_record_with_lists_of_different_lengths_is_not_trained(name, sound):
    record, counted = UNEVEN[name]
    assert not sound(record)
    assert f"image/object/{counted}" in fault_in(record, TABLE)


@pytest.mark.parametrize("name", SOUND)
def test_lists_of_sound_records_are_even(name):
    assert uneven_lists(SOUND[name]) == ""


def test_the_message_says_what_is_allowed():
    assert "the 3 known categories have ids 1 to 7" in fault_in(FAULTS["an unknown label"][0], TABLE)
    assert "the 3 known categories have ids 1 to 7" in fault_in(FAULTS["an unknown name"][0], TABLE)


def test_an_image_without_an_id_is_not_named():
    assert fault_in(detection_record([GOOD], source_id=""), TABLE).startswith("object 0: has neither")


def test_a_split_with_one_box_has_objects(tmp_path):
    without = [detection_record()] * 3
    files = write_files(tmp_path, [*without, detection_record([GOOD], label=[1])], 2)
    assert has_objects(files, 4)
    assert not has_objects(files, 3)
    assert not has_objects(write_files(tmp_path, without, name="other"), 1000)


def test_images_have_numbers_only_if_all_source_ids_are_numbers():
    assert image_numbers([b"7", b"007", b"-1"]) == [7, 7, -1]
    assert image_numbers([b"7", b"a"]) is None
    assert image_numbers([b"9" * 30]) is None
