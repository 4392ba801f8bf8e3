"""Inputs that read only the chosen examples of a split, by both readers, resumed and in several processes."""

import dataclasses

import numpy as np
import pytest

from tests.utils.input_records import assert_same, encode, fetch, noise, options, reader, record, write_files
from utils.input.batching import Position, Shard
from utils.input.labelled_images import LABELLED_IMAGES
from utils.records.record_index import shuffled_bytes

CHOSEN = (0, 3, 4, 8, 9, 10, 13, 16, 17, 20, 21, 22)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Twelve of 23 images in three files."""
    records = [record(encode(noise(i)), i % 10 + 1) for i in range(23)]
    return dataclasses.replace(write_files(tmp_path_factory.mktemp("noise"), records, files=3), chosen=CHOSEN)


def train(given, files, steps, shard=None, start=None, **changes):
    shard, start = shard or Shard(), start or Position()
    changes |= {"batch_size": 4 // shard.count}
    return fetch(lambda: given.train_input(files, LABELLED_IMAGES, options(**changes), shard, start), steps)


def indices(batches):
    return [batch.index.tolist() for batch in batches]


@pytest.mark.parametrize(("name", "shuffle"), [("tf.data", "buffer"), ("tf.data", "index"), ("dali", "buffer")])
def test_training_reads_each_chosen_example_once_an_epoch_and_no_other(files, name, shuffle):
    batches = train(reader(name), files, 6, shuffle=shuffle)
    for epoch in (batches[:3], batches[3:]):
        assert sorted(index for batch in indices(epoch) for index in batch) == list(CHOSEN)
    for batch in batches:
        np.testing.assert_array_equal(batch.labels, batch.index % 10)
    assert indices(batches[:3]) != indices(batches[3:])


def test_a_resumed_run_and_several_processes_read_the_same_examples(files):
    whole = train(reader("tf.data"), files, 6)
    assert_same(whole[2:], train(reader("tf.data"), files, 4, start=Position(example=8)))
    parts = [train(reader("tf.data"), files, 6, Shard(index=rank, count=2)) for rank in range(2)]
    joined = [np.concatenate([one.index, other.index]) for one, other in zip(*parts, strict=True)]
    assert [sorted(batch) for batch in joined] == [sorted(batch) for batch in indices(whole)]


@pytest.mark.parametrize("name", ["tf.data", "dali"])
@pytest.mark.parametrize("count", [1, 2])
def test_evaluation_reads_the_chosen_examples_in_order(files, name, count):
    found = [
        fetch(lambda rank=rank: reader(name).eval_input(
            files, LABELLED_IMAGES, options(batch_size=5), Shard(index=rank, count=count)))
        for rank in range(count)
    ]  # fmt: skip
    seen = sorted(index for part in found for batch in indices(part) for index in batch if index >= 0)
    assert seen == list(CHOSEN)
    if count == 1:
        assert [index for batch in indices(found[0]) for index in batch][: len(CHOSEN)] == list(CHOSEN)


def test_the_memory_of_the_shuffle_is_that_of_the_chosen_examples(files):
    whole = dataclasses.replace(files, chosen=None)
    assert shuffled_bytes(files, 100) == pytest.approx(shuffled_bytes(whole, 100) * len(CHOSEN) / 23, abs=1)
