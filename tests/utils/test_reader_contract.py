"""The contract of the readers, tf.data and DALI, and the agreement between them."""

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.input_records import (
    assert_same,
    coordinates,
    encode,
    fetch,
    noise,
    options,
    reader,
    record,
    write_files,
)
from utils.data_utils import TensorFlowReader
from utils.errors import UsageError
from utils.input.batching import (
    STATUS_BAD_LABEL,
    STATUS_OK,
    STATUS_PADDING,
    STATUS_UNDECODABLE,
    Position,
    Shard,
)
from utils.input.labelled_images import LABELLED_IMAGES

EXAMPLES = 23
BOTH = pytest.mark.parametrize("name", ["tf.data", "dali"])
ALL = pytest.mark.parametrize("name", ["tf.data", "dali", "dali by reference"])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """23 JPEGs and PNGs in 3 files; example i has the label i % 10 + 1, every third a box."""
    kinds, boxes = ("JPEG", "PNG"), ([(0.1, 0.2, 0.6, 0.9)], [], [])
    records = [
        record(encode(noise(i, 30 + i, 40 - i), kinds[i % 2]), i % 10 + 1, boxes[i % 3]) for i in range(EXAMPLES)
    ]
    return write_files(tmp_path_factory.mktemp("noise"), records, files=3)


def train(given, files, steps, shard=None, start=None, **changes):
    shard, start = shard or Shard(), start or Position()
    return fetch(lambda: given.train_input(files, LABELLED_IMAGES, options(**changes), shard, start), steps)


def evaluate(given, files, shard=None, **changes):
    return fetch(lambda: given.eval_input(files, LABELLED_IMAGES, options(**changes), shard or Shard()))


@pytest.fixture(scope="module")
def epochs(files):
    """Three epochs of 5 batches of 4 by reader, computed on first use."""
    made = {}

    def of(name):
        given = reader(name)
        if name not in made:
            made[name] = train(given, files, 15)
        return made[name]

    return of


@pytest.mark.slow
@ALL
def test_a_run_resumed_anywhere_continues_bit_for_bit(files, epochs, name):
    whole = epochs(name)
    for epoch, example, step in ((0, 0, 0), (0, 4, 1), (1, 16, 9), (2, 8, 12)):
        resumed = train(reader(name), files, 15 - step, start=Position(epoch=epoch, example=example))
        assert_same(resumed, whole[step:])


@BOTH
def test_threads_change_nothing(files, epochs, name):
    assert_same(train(reader(name), files, 3, threads=1), epochs(name)[:3])


@BOTH
def test_an_epoch_has_no_example_twice_and_another_order_than_the_next(epochs, name):
    order = np.concatenate([batch.index for batch in epochs(name)]).reshape(3, 20)
    assert all(len(set(epoch)) == 20 and set(epoch) <= set(range(EXAMPLES)) for epoch in order)
    assert (order[0] != order[1]).any()


@BOTH
def test_an_image_is_repeated_with_other_crops(files, epochs, name):
    first, second = train(reader(name), files, 2, repeats=2)
    assert first.index.tolist() == np.repeat(epochs(name)[0].index[:2], 2).tolist()
    assert second.index.tolist() == np.repeat(epochs(name)[0].index[2:], 2).tolist()
    np.testing.assert_array_equal(first.images[::2], epochs(name)[0].images[:2])
    assert (first.images[::2] != first.images[1::2]).any(axis=(1, 2, 3)).all()


@BOTH
def test_a_shuffled_index_is_one_order_of_all_and_has_the_examples_of_their_numbers(files, name):
    epoch = train(reader(name), files, 5, shuffle="index")
    order = np.concatenate([batch.index for batch in epoch])
    assert len(set(order)) == 20
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in epoch]), order % 10)
    assert_same(train(reader(name), files, 1, start=Position(example=8), shuffle="index", shuffle_buffer=1), epoch[2:3])


@BOTH
def test_labels_belong_to_their_examples(epochs, name):
    for batch in epochs(name):
        np.testing.assert_array_equal(batch.labels, batch.index % 10)
        assert (batch.status == STATUS_OK).all()
        assert batch.images.dtype == np.float32


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("count", [2, 4])  # 4 is more than there are files
def test_shards_share_out_the_batches_of_one_process(files, epochs, name, count):
    steps = 4 // count
    for index in range(count):
        own = [epochs(name)[5 * epoch + count * step + index] for epoch in range(2) for step in range(steps)]
        assert_same(train(reader(name), files, 2 * steps, Shard(index=index, count=count)), own)


@ALL
@pytest.mark.parametrize(("count", "batch_size"), [(1, 7), (1, 64), (3, 5), (4, 6)])
def test_evaluation_sees_every_example_once_in_order_in_equally_many_batches(files, name, count, batch_size):
    shards = [evaluate(reader(name), files, Shard(index=i, count=count), batch_size=batch_size) for i in range(count)]
    assert {len(batches) for batches in shards} == {-(-EXAMPLES // (count * batch_size))}
    index = np.array([[batch.index for batch in batches] for batches in shards]).transpose(1, 0, 2).ravel()
    status = np.array([[batch.status for batch in batches] for batches in shards]).transpose(1, 0, 2).ravel()
    np.testing.assert_array_equal(index[:EXAMPLES], np.arange(EXAMPLES))
    assert (index[EXAMPLES:] == -1).all()
    np.testing.assert_array_equal(status, np.where(index < 0, STATUS_PADDING, STATUS_OK))


@BOTH
def test_a_smaller_crop_shows_the_middle_of_the_usual_one(tmp_path, name):
    files = write_files(tmp_path, [record(encode(coordinates(64, 64)))])
    whole, half = (evaluate(reader(name), files, eval_crop=crop, batch_size=1)[0].images[0] for crop in (1.0, 0.5))
    np.testing.assert_allclose(whole[0, 0] + whole[7, 7], [56, 56, 0], atol=0.05)  # each eighth pixel from 0 to 56
    np.testing.assert_allclose([half[0, 0, 0], half[7, 7, 1]], [16, 44], atol=0.05)  # each fourth from 16 to 44


@BOTH
def test_evaluation_of_each_nth_example_keeps_their_indices(files, name):
    index = np.concatenate([batch.index for batch in evaluate(reader(name), files, eval_every=5)])
    assert index[index >= 0].tolist() == [0, 5, 10, 15, 20]


@BOTH
def test_a_batch_larger_than_the_data_set_is_refused(files, name):
    with pytest.raises(UsageError, match="--batch_size 24: the global batch of 24 is larger than the 23 training"):
        train(reader(name), files, 1, batch_size=24)


@ALL
@pytest.mark.parametrize("training", [True, False])
def test_bad_records_keep_their_places_and_show_a_good_image(tmp_path, name, training):
    jpeg, png = encode(noise(0, 64, 64), "JPEG"), bytearray(encode(noise(1, 64, 64)))
    png[len(png) // 2] ^= 255  # its header is sound
    flat = encode(np.full([20, 20, 3], 50, np.uint8))
    records = [
        record(flat, 1), record(b"no image", 2), record(flat, 11), record(jpeg[: len(jpeg) // 2], 4),
        record(bytes(png), 5), record(b"", 6), record(jpeg[:200] + b"\xff\xd9", 7), b"\xff no record",
    ]  # fmt: skip
    read = train if training else evaluate
    batch = read(reader(name), write_files(tmp_path, records), *([1] if training else []), batch_size=8)[0]
    by_index = np.argsort(batch.index)
    bad = STATUS_UNDECODABLE
    np.testing.assert_array_equal(batch.status[by_index], [0, bad, STATUS_BAD_LABEL, bad, bad, bad, bad, bad])
    np.testing.assert_array_equal(batch.labels, 0)
    np.testing.assert_allclose(batch.images, 50, atol=1e-3)


@ALL
def test_a_batch_without_one_good_record_is_black(tmp_path, name):
    (batch,) = evaluate(reader(name), write_files(tmp_path, [record(b"")] * 4))
    assert (batch.status == STATUS_UNDECODABLE).all()
    assert (batch.images == 0).all()


@BOTH
def test_a_flipped_bit_ends_the_input_with_data_loss(tmp_path, name):
    files = write_files(tmp_path, [record(encode(noise(i))) for i in range(8)])
    path = tmp_path / "train-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[60] ^= 1  # of the first record's data
    path.write_bytes(data)
    with pytest.raises(tf.errors.DataLossError):
        evaluate(reader(name), files)


def test_images_that_stay_on_the_device_are_those_that_pass_through_the_host(epochs):
    assert_same(epochs("dali by reference"), epochs("dali"))


def test_dali_reads_the_same_examples_and_sees_the_same_parts_of_them(epochs):
    for ours, theirs in zip(epochs("dali"), epochs("tf.data"), strict=True):
        np.testing.assert_array_equal(ours.index, theirs.index)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        png = ours.index % 2 == 1  # without rounding
        np.testing.assert_allclose(ours.images[png], theirs.images[png], atol=0.05)
        # On noise, the decoders' colors differ a little; another part of the image would differ by 80 grey levels.
        assert np.abs(ours.images - theirs.images).mean() < 12


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 40])
@pytest.mark.parametrize("shape", [(20, 24), (33, 17), (5, 200), (1, 1)])
def test_an_evaluation_image_of_dali_is_that_of_tf_data(tmp_path, size, shape):
    files = write_files(tmp_path, [record(encode(noise(3, *shape)))])
    (ours,), (theirs,) = (
        evaluate(given, files, image_size=size, batch_size=1) for given in (reader("dali"), TensorFlowReader())
    )
    np.testing.assert_allclose(ours.images, theirs.images, atol=0.05)
