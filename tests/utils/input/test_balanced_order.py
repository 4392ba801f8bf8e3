"""Training examples drawn by class: their shares, and what the order depends on."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.input_records import assert_same, encode, fetch, noise, options, reader, record, run_graph, write_files
from utils.errors import RunError
from utils.input.balanced_order import Balance, balanced_order
from utils.input.batching import Position, Shard
from utils.input.labelled_images import LABELLED_IMAGES

CLASSES = np.array([0] * 60 + [3] * 30 + [1] * 6 + [-1] * 4)
RARE = np.array([0] * 10 + [1] * 2 + [2] * 4)


def order(power=1.0, key=7, classes=CLASSES):
    balance = Balance(classes=classes, power=power)
    return run_graph(lambda: balanced_order(balance, len(classes), tf.constant(key, tf.int64)))


def shares(drawn, classes=CLASSES):
    return [int((classes[drawn] == k).sum()) for k in (0, 1, 3)]


@pytest.mark.parametrize(
    ("power", "expected"), [(1.0, [33.3] * 3), (0.0, [62.5, 6.25, 31.25]), (0.5, [49, 15.5, 35.5])]
)
def test_classes_get_their_shares_of_an_epoch(power, expected):
    drawn = order(power)
    assert len(drawn) == len(CLASSES)
    assert shares(drawn) == pytest.approx(expected, abs=1)
    assert sum(shares(drawn)) == 100  # none without a class


def test_no_example_of_a_class_comes_twice_before_all_have_come():
    times = np.bincount(order(), minlength=100)
    for number in (0, 1, 3):
        of_class = times[number == CLASSES]
        assert of_class.max() - of_class.min() <= 1


def test_the_order_is_mixed_and_follows_from_the_key_alone():
    first, again, other = order(key=7), order(key=7), order(key=8)
    np.testing.assert_array_equal(first, again)
    assert np.mean(first == other) < 0.2
    assert abs(np.corrcoef(CLASSES[first], np.arange(100))[0, 1]) < 0.3  # the rows of a class are spread over the epoch
    assert set(first[CLASSES[first] == 0]) != set(other[CLASSES[other] == 0])


def test_a_split_without_a_class_is_refused():
    with pytest.raises(RunError, match="--balanced_sampling: no training example has a usable label"):
        order(classes=np.array([-1, -1]))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    records = [record(encode(noise(n)), label=int(label) + 1) for n, label in enumerate(RARE)]
    return write_files(tmp_path_factory.mktemp("rare"), records, files=2)


def train(name, files, steps, shard=None, start=None, batch_size=4):
    how = options(batch_size=batch_size, num_classes=3, balance=Balance(classes=RARE, power=1.0))
    return fetch(
        lambda: reader(name).train_input(files, LABELLED_IMAGES, how, shard or Shard(), start or Position()), steps
    )


@pytest.mark.parametrize("name", ["tf.data", "dali"])
def test_both_readers_draw_by_class_and_resume_anywhere(files, name):
    whole = train(name, files, 8)
    labels = np.concatenate([batch.labels for batch in whole])
    assert np.bincount(labels[:16], minlength=3) == pytest.approx([16 / 3] * 3, abs=1)
    index = np.concatenate([batch.index for batch in whole])
    np.testing.assert_array_equal(labels, RARE[index])
    assert index[:16].tolist() != index[16:].tolist()
    assert_same(train(name, files, 5, start=Position(epoch=0, example=12)), whole[3:])
    assert_same(train(name, files, 3, start=Position(epoch=1, example=4)), whole[5:])


def test_of_chosen_examples_alone_an_epoch_is_as_long_as_they_are_many(files):
    chosen = (0, 1, 2, 3, 8, 9, 14, 15)
    classes = np.full(len(RARE), -1)
    classes[list(chosen)] = RARE[list(chosen)]
    part = dataclasses.replace(files, chosen=chosen)
    how = options(batch_size=4, num_classes=3, balance=Balance(classes=classes, power=1.0))
    batches = fetch(lambda: reader("tf.data").train_input(part, LABELLED_IMAGES, how, Shard(), Position()), 4)
    index = np.concatenate([batch.index for batch in batches])
    assert set(index) <= set(chosen)
    first, second = np.split(RARE[index], 2)
    for epoch in (first, second):
        assert len(set(np.bincount(epoch)[np.unique(RARE[list(chosen)])])) <= 2
    assert index[:8].tolist() != index[8:].tolist()


def test_an_example_that_comes_twice_is_augmented_twice_and_shards_share_the_batches(files):
    whole = train("tf.data", files, 4)
    index, images = (np.concatenate([getattr(batch, field) for batch in whole]) for field in ("index", "images"))
    twice = np.flatnonzero(index == np.bincount(index).argmax())
    assert len(twice) > 1
    assert (images[twice[0]] != images[twice[1]]).any()
    parts = [train("tf.data", files, 4, Shard(index=rank, count=2), batch_size=2) for rank in range(2)]
    for step, batch in enumerate(whole):
        halves = [part[step] for part in parts]
        np.testing.assert_array_equal(batch.images, np.concatenate([half.images for half in halves]))
        np.testing.assert_array_equal(batch.index, np.concatenate([half.index for half in halves]))
