import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import dataset_options_pb2

from tests.utils.input_records import (
    encode,
    eval_input,
    fetch,
    noise,
    options,
    quick_session,
    record,
    train_input,
    write_files,
)
from utils.errors import UsageError
from utils.input.batching import (
    STATUS_BAD_LABEL,
    STATUS_OK,
    STATUS_PADDING,
    STATUS_UNDECODABLE,
    Batch,
    InputOptions,
    Position,
    Shard,
    make_input,
)
from utils.input.labelled_images import LABELLED_IMAGES

GRAY = np.full([20, 20, 3], 100, np.uint8)


def uniform(value):
    """A record with pixels of a single value, so that its crops differ from those of any other record."""
    return encode(np.full([20, 20, 3], value, np.uint8))


@pytest.mark.parametrize("make", [eval_input, lambda *given: train_input(*given, Position())])
def test_a_bad_record_keeps_its_place_and_shows_a_good_image(tmp_path, make):
    jpeg = encode(noise(0, 64, 64), "JPEG")
    records = [
        record(uniform(10), 1),
        record(b"not an image", 2),
        record(uniform(30), 11),  # with offset 1 and 10 classes, labels go from 1 to 10
        record(jpeg[: len(jpeg) // 2], 4),
        record(uniform(50), 5),
        record(uniform(60), 0),
    ]
    batches = fetch(lambda: make(write_files(tmp_path, records), LABELLED_IMAGES, options(batch_size=6), Shard()), 1)
    by_index = np.argsort(batches[0].index)
    images, labels, status, index = (part[by_index] for part in batches[0])
    np.testing.assert_array_equal(index, np.arange(6))
    bad, label = STATUS_UNDECODABLE, STATUS_BAD_LABEL
    np.testing.assert_array_equal(status, [0, bad, label, bad, 0, label])
    np.testing.assert_array_equal(labels, [0, 0, 0, 0, 4, 0])
    assert (images[0] == 10).all()
    assert (images[4] == 50).all()
    for row in (1, 2, 3, 5):
        assert set(np.unique(images[row])) in ({10}, {50})
    assert len({images[row].max() for row in (1, 2, 3, 5)}) == 2  # both good images take turns


def test_a_batch_without_one_good_record_is_black(tmp_path):
    records = [record(b"", 1), record(uniform(9), 11), record(uniform(8), -5)]
    (batch,) = fetch(lambda: eval_input(write_files(tmp_path, records), LABELLED_IMAGES, options(), Shard()))
    np.testing.assert_array_equal(
        batch.status, [STATUS_UNDECODABLE, STATUS_BAD_LABEL, STATUS_BAD_LABEL, STATUS_PADDING]
    )
    assert (batch.images == 0).all()


def test_padding_shows_a_good_image(tmp_path):
    records = [record(uniform(9), 1), record(b"", 1)]
    (batch,) = fetch(lambda: eval_input(write_files(tmp_path, records), LABELLED_IMAGES, options(), Shard()))
    np.testing.assert_array_equal(batch.status, [STATUS_OK, STATUS_UNDECODABLE, STATUS_PADDING, STATUS_PADDING])
    assert (batch.images == 9).all()


def test_bad_records_do_not_shift_the_rows_of_later_batches(tmp_path):
    records = [record(uniform(i) if i % 3 else b"", 1) for i in range(12)]
    batches = fetch(lambda: eval_input(write_files(tmp_path, records), LABELLED_IMAGES, options(), Shard()))
    values = np.concatenate([batch.images[:, 0, 0, 0] for batch in batches])
    status = np.concatenate([batch.status for batch in batches])
    rows = np.arange(12)
    np.testing.assert_array_equal(status, np.where(rows % 3, STATUS_OK, STATUS_UNDECODABLE))
    np.testing.assert_array_equal(values[rows % 3 > 0], rows[rows % 3 > 0])


def test_a_label_beyond_32_bits_is_out_of_range(tmp_path):
    records = [record(uniform(1), 2**32 + 1), record(uniform(2), 1)]
    (batch,) = fetch(
        lambda: eval_input(write_files(tmp_path, records), LABELLED_IMAGES, options(batch_size=2), Shard())
    )
    np.testing.assert_array_equal(batch.status, [STATUS_BAD_LABEL, STATUS_OK])


def test_the_mask_is_one_for_real_examples_alone():
    with tf.Graph().as_default():
        batch = Batch(tf.zeros([4, 1, 1, 3]), {}, tf.constant([0, 1, 2, 3]), tf.range(4, dtype=tf.int64))
        with quick_session() as session:
            mask = session.run(batch.mask)
    np.testing.assert_array_equal(mask, [1, 0, 0, 0])
    assert mask.dtype == np.float32


def test_shapes_are_known_while_the_graph_is_built(tmp_path):
    files = write_files(tmp_path, [record(uniform(1))] * 4)
    with tf.Graph().as_default():
        for stream in (
            train_input(files, LABELLED_IMAGES, options(), Shard(), Position()),
            eval_input(files, LABELLED_IMAGES, options(), Shard()),
        ):
            assert stream.batch.images.shape == [4, 8, 8, 3]
            assert stream.batch.images.dtype == tf.float32
            assert stream.batch.targets["labels"].shape == [4]
            assert stream.batch.targets["labels"].dtype == tf.int32
            assert stream.batch.status.dtype == tf.int32
            assert stream.batch.index.dtype == tf.int64


def waited(seconds, steps=5):
    """``wait_seconds`` for batches that take ``seconds`` each to prepare, and the duration of each step."""

    def batches():
        while True:
            time.sleep(seconds)
            yield 1.0

    waits, steps_took = [], []
    with tf.Graph().as_default():
        stream = make_input(tf.data.Dataset.from_generator(batches, output_signature=tf.TensorSpec([], tf.float32)))
        with quick_session() as session:
            session.run(stream.initializer)
            for _ in range(steps):
                begin = time.perf_counter()
                waits.append(session.run((stream.wait_seconds, stream.batch))[0])
                steps_took.append(time.perf_counter() - begin)
    return np.array(waits), np.array(steps_took)


def test_wait_seconds_is_the_time_that_fetching_a_batch_blocked():
    slow, slow_steps = waited(0.1)
    fast, fast_steps = waited(0)
    assert (slow <= slow_steps).all()
    assert (fast <= fast_steps).all()
    # Medians: on a busy machine, single batches are late.
    assert np.median(slow) > 0.08
    assert np.median(fast) < 0.03


def test_wait_seconds_leaves_out_the_network_on_one_thread():
    waits, steps_took = [], []
    with tf.Graph().as_default():
        stream = make_input(tf.data.Dataset.from_tensors(tf.ones([400, 400])).repeat())
        network = stream.batch
        for _ in range(40):
            network = tf.matmul(network, stream.batch) / 400.0
        one = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=1, intra_op_parallelism_threads=1)
        with tf.compat.v1.Session(config=one) as session:
            session.run(stream.initializer)
            for _ in range(5):
                begin = time.perf_counter()
                waits.append(session.run((stream.wait_seconds, network))[0])
                steps_took.append(time.perf_counter() - begin)
    assert np.median(waits) < 0.2 * np.median(steps_took)


def test_wait_seconds_leaves_out_the_time_between_batches(tmp_path):
    files = write_files(tmp_path, [record(encode(GRAY))] * 4)
    waits = []
    with tf.Graph().as_default():
        stream = train_input(files, LABELLED_IMAGES, options(), Shard(), Position())
        with quick_session() as session:
            session.run(stream.initializer)
            for _ in range(4):
                waits.append(session.run((stream.wait_seconds, stream.batch))[0])
                time.sleep(0.1)  # a training step, during which the next batches are prepared
    assert min(waits) < 0.05


def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.mark.slow
def test_memory_stays_flat_over_200_epochs(tmp_path):
    files = write_files(tmp_path, [record(encode(noise(i))) for i in range(8)], files=2)
    with tf.Graph().as_default():
        stream = train_input(
            files, LABELLED_IMAGES, options(image_size=32, batch_size=8), Shard(), Position()
        )  # a batch is an epoch
        with quick_session() as session:
            session.run(stream.initializer)
            step = session.make_callable(stream.batch.index)
            for _ in range(50):
                step()
            before = resident_mb()
            for _ in range(200):
                step()
            assert resident_mb() - before < 10  # a batch has 0.1 MB: one kept in each epoch would be 20


def test_a_single_inter_op_thread_is_enough(tmp_path):
    files = write_files(tmp_path, [record(encode(noise(i))) for i in range(8)])
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=1, intra_op_parallelism_threads=1)
    with tf.Graph().as_default():
        stream = train_input(files, LABELLED_IMAGES, options(), Shard(), Position())
        with tf.compat.v1.Session(config=config) as session:
            session.run(stream.initializer)
            for _ in range(8):
                session.run(stream.batch.index, options=tf.compat.v1.RunOptions(timeout_in_ms=20000))


@pytest.mark.parametrize(("index", "count"), [(-1, 2), (2, 2), (0, 0)])
def test_impossible_shards_are_refused(index, count):
    with pytest.raises(ValueError, match=f"shard {index} of {count}"):
        Shard(index=index, count=count)


def test_negative_positions_are_refused():
    with pytest.raises(ValueError, match="0 or more"):
        Position(epoch=0, example=-1)


@pytest.mark.parametrize("field", ["image_size", "batch_size", "shuffle_buffer", "threads"])
def test_options_out_of_range_name_their_flag(field):
    with pytest.raises(UsageError, match=f"--{field} 0: must be a positive integer"):
        options(**{field: 0})


def test_options_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        options().seed = 1  # type: ignore[misc]
    assert isinstance(options(), InputOptions)
    assert options(threads=None).decode_threads >= 1


def test_no_thread_of_the_pipeline_keeps_a_session_from_closing():
    """The autotuning thread would: it can miss the end and sleep for up to a minute."""
    with tf.Graph().as_default() as graph:
        make_input(tf.data.Dataset.range(3))
    (node,) = [node for node in graph.as_graph_def().node if node.op == "OptionsDataset"]
    options = dataset_options_pb2.Options.FromString(node.attr["serialized_options"].s)
    assert options.autotune_options.HasField("enabled")
    assert not options.autotune_options.enabled
