"""The data of the classification task: length and bad examples."""

import pytest
import tensorflow as tf

from tests.runtime.processes import Pretended
from tests.runtime.tiny_classifier import task
from tests.utils.input_records import encode, noise, record, write_files
from utils.input.batching import STATUS_BAD_LABEL, STATUS_UNDECODABLE, Position, Shard
from utils.records.tfrecord_file import read_record


def test_a_split_without_files_is_a_thousand_batches_of_all_replicas():
    assert task(data_dir=None, source="synthetic", mode="training_benchmark").data.num_examples("train") == 4000
    eight = task(data_dir=None, source="synthetic", mode="training_benchmark", communicator=Pretended(8))
    assert eight.data.num_examples("train") == 32000


def test_a_split_has_as_many_examples_as_its_files(tmp_path):
    files = write_files(tmp_path, [record(encode(noise(i))) for i in range(7)], 2)
    assert task({"train": files}).data.num_examples("train") == 7


def test_training_never_ends_and_validation_does(tmp_path):
    files = write_files(tmp_path, [record(encode(noise(i))) for i in range(3)])
    splits = {"train": files, "validation": files}
    counts = {}
    for split in splits:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            stream = task(splits, batch_size=2).data.input(split, Shard(), Position())
            session.run(stream.initializer)
            counts[split] = 0
            try:
                for _ in range(5):
                    session.run(stream.batch.index)
                    counts[split] += 1
            except tf.errors.OutOfRangeError:
                pass
    assert counts == {"train": 5, "validation": 2}


@pytest.fixture
def files(tmp_path):
    examples = [record(encode(noise(i)), label=1 + i) for i in range(5)]
    unlabelled = tf.train.Example.FromString(record(encode(noise(9))))
    del unlabelled.features.feature["image/class/label"]
    return write_files(tmp_path, [*examples, unlabelled.SerializeToString()], 2)


def test_a_bad_label_is_described_with_file_record_and_range(files):
    found = task({"train": files}).data.describe_bad_example("train", 4, STATUS_BAD_LABEL)
    assert found == f"{files.paths[1]}, record 1: label 5 is outside 1..3 (--num_classes 3)"


def test_a_record_without_a_label_is_described(files):
    found = task({"train": files}).data.describe_bad_example("train", 5, STATUS_BAD_LABEL)
    assert found == f"{files.paths[1]}, record 2: has no label (image/class/label)"


def test_an_image_that_does_not_decode_is_described(files):
    found = task({"train": files}).data.describe_bad_example("train", 0, STATUS_UNDECODABLE)
    assert found == f"{files.paths[0]}, record 0: the image does not decode"
    assert read_record(files.paths[0], 0)
