from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.input_records import (
    assert_same,
    encode,
    eval_input,
    fetch,
    noise,
    options,
    record,
    run_graph,
    train_input,
    write_files,
)
from utils.data_utils import image_input, synthetic_input
from utils.errors import UsageError
from utils.image_processing import eval_preprocess
from utils.input.batching import (
    STATUS_BAD_LABEL,
    STATUS_OK,
    STATUS_PADDING,
    STATUS_UNDECODABLE,
    Position,
    Shard,
)
from utils.input.labelled_images import LABELLED_IMAGES
from utils.records.record_index import shuffled_bytes, shuffles_numbers
from utils.records.split_files import SplitFiles

EXAMPLES = 23


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """23 noise images in 3 files; example i has the label i % 10 + 1."""
    records = [record(encode(noise(i)), i % 10 + 1) for i in range(EXAMPLES)]
    return write_files(tmp_path_factory.mktemp("noise"), records, files=3)


def train(files, steps, shard=None, start=None, graph_seed=None, **changes):
    shard, start = shard or Shard(), start or Position()
    return fetch(lambda: train_input(files, LABELLED_IMAGES, options(**changes), shard, start), steps, graph_seed)


def order(batches):
    return np.concatenate([batch.index for batch in batches])


# 23 examples in batches of 4: 5 batches an epoch.
@pytest.fixture(scope="module")
def three_epochs(files):
    return train(files, 15)


def test_the_same_seed_gives_the_same_batches_bit_for_bit(files, three_epochs):
    assert_same(train(files, 15), three_epochs)


@pytest.mark.parametrize(("epoch", "example", "step"), [(0, 4, 1), (0, 20, 5), (1, 16, 9), (2, 8, 12)])
def test_a_run_resumed_anywhere_continues_bit_for_bit(files, three_epochs, epoch, example, step):
    resumed = train(files, 15 - step, start=Position(epoch=epoch, example=example))
    assert_same(resumed, three_epochs[step:])


def test_neither_the_graph_seed_nor_the_number_of_threads_matters(files, three_epochs):
    assert_same(train(files, 6, graph_seed=77, threads=1), three_epochs[:6])
    assert_same(train(files, 6, threads=5), three_epochs[:6])


def test_each_epoch_uses_as_many_examples_as_fill_its_batches_and_none_twice(three_epochs):
    epochs = order(three_epochs).reshape(3, 20)
    for epoch in epochs:
        assert len(set(epoch)) == 20
        assert set(epoch) <= set(range(EXAMPLES))
    assert len(set(epochs.ravel())) > 20  # the omitted examples vary


def test_labels_belong_to_their_examples(three_epochs):
    for batch in three_epochs:
        np.testing.assert_array_equal(batch.labels, batch.index % 10)
        assert batch.labels.dtype == np.int32
        assert (batch.status == STATUS_OK).all()


def test_another_epoch_has_another_order_and_other_crops(three_epochs):
    first, second = three_epochs[:5], three_epochs[5:10]
    assert (order(first) != order(second)).any()
    images = [
        {i: image for batch in epoch for i, image in zip(batch.index, batch.images, strict=True)}
        for epoch in (first, second)
    ]
    common = images[0].keys() & images[1].keys()
    assert len(common) >= 17
    assert sum((images[0][i] != images[1][i]).any() for i in common) > len(common) / 2


def test_another_seed_has_another_order_and_other_crops(files, three_epochs):
    other = train(files, 5, seed=6)
    assert (order(other) != order(three_epochs[:5])).any()
    # A pair of seeds must not collide with a pair of epochs, as sums of seed and epoch do.
    assert (order(train(files, 5, seed=4, start=Position(epoch=1))) != order(three_epochs[:5])).any()


def test_epochs_are_shuffled_across_files(three_epochs):
    first = order(three_epochs[:5])
    assert (np.diff(first) != 1).sum() > 10
    file_of = np.searchsorted([8, 16], first, side="right")
    assert len(set(file_of[:10])) == 3


@pytest.mark.parametrize("buffer", [1, 3])
def test_every_shuffle_buffer_gives_each_example_once(files, buffer):
    epoch = order(train(files, 23, batch_size=1, shuffle_buffer=buffer))
    assert sorted(epoch) == list(range(EXAMPLES))


def test_large_records_stay_on_disk_and_come_in_the_same_order(files, three_epochs, monkeypatch):
    stored = sum(Path(path).stat().st_size for path in files.paths)
    monkeypatch.setattr("utils.records.record_index.MOST_SHUFFLED_BYTES", stored)
    assert shuffled_bytes(files, 4096) == stored
    assert shuffled_bytes(files, 5) == stored * 5 // EXAMPLES
    assert not shuffles_numbers(files, 4096)
    monkeypatch.setattr("utils.records.record_index.MOST_SHUFFLED_BYTES", stored - 1)
    assert shuffles_numbers(files, 4096)
    monkeypatch.setattr("utils.data_utils._sequential_train_rows", lambda *_: pytest.fail("records fill the memory"))
    assert_same(train(files, 2, start=Position(epoch=1, example=8)), three_epochs[7:9])


# 4 is more than there are files. With 2 shards an epoch has 2 steps, with 4 it has one.
@pytest.mark.parametrize(("index", "count"), [(0, 2), (1, 2), (0, 4), (1, 4), (2, 4), (3, 4)])
def test_any_number_of_shards_shares_out_the_batches_of_one_process(files, three_epochs, index, count):
    steps = 4 // count
    expected = [three_epochs[5 * epoch + count * step + index] for epoch in range(3) for step in range(steps)]
    assert_same(train(files, 3 * steps, Shard(index=index, count=count)), expected)


def test_a_sharded_run_resumes_bit_for_bit(files, three_epochs):
    resumed = train(files, 2, Shard(index=1, count=2), Position(epoch=1, example=8))
    assert_same(resumed, [three_epochs[5 + 2 + 1], three_epochs[10 + 1]])


@pytest.mark.parametrize("example", [21, 40])
def test_a_position_too_close_to_the_end_of_an_epoch_means_the_next_one(files, three_epochs, example):
    assert_same(train(files, 2, start=Position(epoch=0, example=example)), three_epochs[5:7])


def test_a_batch_larger_than_the_data_set_is_refused(files):
    with (
        pytest.raises(UsageError, match="--batch_size 24: the global batch of 24 is larger than the 23 training"),
        tf.Graph().as_default(),
    ):
        train_input(files, LABELLED_IMAGES, options(batch_size=24), Shard(), Position())
    with pytest.raises(UsageError, match="--batch_size 6: the global batch of 24 is larger"), tf.Graph().as_default():
        train_input(files, LABELLED_IMAGES, options(batch_size=6), Shard(count=4), Position())


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_evaluation_sees_every_example_exactly_once_whatever_the_batch_size(files, batch_size):
    batches = fetch(lambda: eval_input(files, LABELLED_IMAGES, options(batch_size=batch_size), Shard()))
    assert len(batches) == -(-EXAMPLES // batch_size)
    status, index = (np.concatenate(parts) for parts in list(zip(*batches, strict=True))[2:])
    assert len(status) == len(batches) * batch_size
    np.testing.assert_array_equal(index[:EXAMPLES], np.arange(EXAMPLES))
    assert (status[:EXAMPLES] == STATUS_OK).all()
    assert (status[EXAMPLES:] == STATUS_PADDING).all()
    assert (index[EXAMPLES:] == -1).all()
    labels = np.concatenate([batch.labels for batch in batches])
    np.testing.assert_array_equal(labels[:EXAMPLES], np.arange(EXAMPLES) % 10)


def test_evaluation_gives_the_pixels_of_the_evaluation_preprocessing(files):
    batches = fetch(lambda: eval_input(files, LABELLED_IMAGES, options(), Shard()))
    expected = run_graph(lambda: [eval_preprocess(tf.constant(encode(noise(i))), 8) for i in range(0, EXAMPLES, 5)])
    np.testing.assert_array_equal(np.concatenate([batch.images for batch in batches])[:EXAMPLES:5], expected)


@pytest.mark.parametrize(("count", "batch_size"), [(3, 5)])
def test_the_shards_of_an_evaluation_see_every_example_once_in_equally_many_batches(files, count, batch_size):
    shards = [
        fetch(
            lambda i=i: eval_input(files, LABELLED_IMAGES, options(batch_size=batch_size), Shard(index=i, count=count))
        )
        for i in range(count)
    ]
    assert {len(batches) for batches in shards} == {-(-EXAMPLES // (count * batch_size))}
    seen = np.concatenate([batch.index[batch.status == STATUS_OK] for batches in shards for batch in batches])
    assert sorted(seen) == list(range(EXAMPLES))


@pytest.mark.parametrize("training", [False, True])
def test_a_file_that_ends_early_or_has_a_flipped_bit_ends_the_input_with_data_loss(files, tmp_path, training):
    data = bytearray(Path(files.paths[0]).read_bytes())
    if training:
        del data[-100:]
    else:
        data[len(data) // 2] ^= 1
    path = tmp_path / "train-00000-of-00001"
    path.write_bytes(data)
    split = SplitFiles((str(path),), files.counts[:1])
    with pytest.raises(tf.errors.DataLossError):
        _ = train(split, 2) if training else fetch(lambda: eval_input(split, LABELLED_IMAGES, options(), Shard()))


def test_images_for_prediction_come_in_order_and_the_unreadable_ones_are_marked():
    encoded = [encode(noise(0)), b"", encode(noise(2), "JPEG"), b"no image", encode(noise(4))]
    first, last = fetch(lambda: image_input(iter(encoded), eval_preprocess, options(batch_size=3)))
    bad, padding = STATUS_UNDECODABLE, STATUS_PADDING
    np.testing.assert_array_equal(first.status, [0, bad, 0])
    np.testing.assert_array_equal(last.status, [bad, 0, padding])
    np.testing.assert_array_equal(np.concatenate([first.index, last.index]), [0, 1, 2, 3, 4, -1])
    expected = run_graph(lambda: [eval_preprocess(tf.constant(encoded[i]), 8) for i in (0, 2, 4)])
    np.testing.assert_array_equal([first.images[0], first.images[2], last.images[1]], expected)


def test_images_for_prediction_have_no_labels():
    with tf.Graph().as_default():
        assert image_input([encode(noise(0))], eval_preprocess, options()).batch.targets == {}


def test_synthetic_data_is_one_seeded_batch_for_ever():
    big = {"image_size": 64, "batch_size": 16}

    def labels():
        return {"labels": tf.range(16)}

    first, second = fetch(lambda: synthetic_input(options(**big), labels()), 2)
    assert_same([first], [second])
    assert_same([first], fetch(lambda: synthetic_input(options(**big), labels()), 1, graph_seed=3))
    other = fetch(lambda: synthetic_input(options(**big, seed=6), labels()), 1)[0]
    assert (other.images != first.images).any()
    assert first.images.shape == (16, 64, 64, 3)
    # A normal distribution cut at two standard deviations keeps 0.88 of them: 0.88 * 60 = 52.8.
    assert first.images.mean() == pytest.approx(127, abs=1)
    assert first.images.std() == pytest.approx(52.8, abs=1)
    assert first.labels.tolist() == list(range(16))
    assert (first.status == STATUS_OK).all()


def test_records_without_image_label_or_form_keep_their_places(tmp_path):
    no_label = tf.train.Example.FromString(record(encode(noise(1))))
    del no_label.features.feature["image/class/label"]
    no_image = tf.train.Example.FromString(record(b""))
    del no_image.features.feature["image/encoded"]
    good = record(encode(noise(0)), 3)
    records = [good, no_label.SerializeToString(), no_image.SerializeToString(), b"\xff not a record"]
    (batch,) = fetch(lambda: eval_input(write_files(tmp_path, records), LABELLED_IMAGES, options(), Shard()))
    np.testing.assert_array_equal(batch.status, [0, STATUS_BAD_LABEL, STATUS_UNDECODABLE, STATUS_UNDECODABLE])
    np.testing.assert_array_equal(batch.labels, [2, 0, 0, 0])
