"""The order of training against the first implementation, which prepared each example before it was batched."""

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.input_records import options, quick_session
from utils.input import record_order
from utils.input.batching import Position, Shard
from utils.input.record_order import INTERLEAVED_FILES, INTERLEAVED_RECORDS, train_rows
from utils.records.split_files import SplitFiles

COUNTS = (17, 0, 9, 30, 1, 8, 16, 25, 3, 12, 11, 24, 7)  # more files than are read at once, one of them empty
FILES = SplitFiles(tuple(f"records/{i}" for i in range(len(COUNTS))), COUNTS)
EXAMPLES = sum(COUNTS)  # 163


def numbers(path, first, count):
    return tf.data.Dataset.range(first, first + count)


def example_by_example(files, read, how, shard, start, *, parallel):
    """The rows of ``train_rows``, with a function called for every example of all processes."""

    def epoch_rows(epoch):
        key = tf.random.stateless_uniform([], [how.seed, epoch], minval=None, maxval=None, dtype=tf.int64)
        order = tf.argsort(tf.random.stateless_uniform([len(files.paths)], tf.stack([key, -1])))
        parts = (tf.constant(files.paths), tf.constant(files.offsets, tf.int64), tf.constant(files.counts, tf.int64))
        elements = tf.data.Dataset.from_tensor_slices(tuple(tf.gather(part, order) for part in parts)).interleave(
            read,
            cycle_length=INTERLEAVED_FILES,
            block_length=INTERLEAVED_RECORDS,
            num_parallel_calls=INTERLEAVED_FILES,
            deterministic=True,
        )
        elements = record_order._shuffle(elements, min(how.shuffle_buffer, files.examples), key)
        elements = elements.skip(tf.where(tf.equal(epoch, start.epoch), tf.constant(start.example, tf.int64), 0))
        rows = elements.map(lambda index: {"element": (index,), "seed": tf.stack([key, index])})
        first = shard.index * how.batch_size
        batches = rows.batch(how.batch_size * shard.count, drop_remainder=True)
        return batches.map(lambda row: tf.nest.map_structure(lambda x: x[first : first + how.batch_size], row))

    return tf.data.Dataset.counter(start.epoch, dtype=tf.int64).flat_map(epoch_rows)


def two_epochs(make, shard, start, **changes):
    """Index and seed of each row from ``start`` to the end of the epoch after it."""
    how = options(batch_size=5, **changes)
    batch = how.batch_size * shard.count
    steps = (EXAMPLES - start.example) // batch + EXAMPLES // batch
    with tf.Graph().as_default():
        rows = tf.compat.v1.data.make_one_shot_iterator(make(FILES, numbers, how, shard, start, parallel=False))
        row = rows.get_next()
        with quick_session() as session:
            step = session.make_callable([row["element"][0], row["seed"]])
            fetched = [step() for _ in range(steps)]
    return np.concatenate([index for index, _ in fetched]), np.concatenate([seed for _, seed in fetched])


@pytest.mark.parametrize("count", [1, 3, 32])
@pytest.mark.parametrize(
    ("start", "buffer"), [(Position(), 40), (Position(epoch=2, example=15), 40), (Position(example=157), 1)]
)
def test_rows_and_seeds_are_those_of_the_first_implementation(count, start, buffer):
    shard = Shard(index=count // 2, count=count)
    ours = two_epochs(train_rows, shard, start, shuffle_buffer=buffer)
    expected = two_epochs(example_by_example, shard, start, shuffle_buffer=buffer)
    assert len(ours[0])
    np.testing.assert_array_equal(ours[0], expected[0])
    np.testing.assert_array_equal(ours[1], expected[1])


def test_files_read_one_after_the_other_give_the_order_of_files_read_at_once():
    def at_once(*arguments, parallel):
        return train_rows(*arguments, parallel=True)

    one_by_one, together = (two_epochs(make, Shard(), Position())[0] for make in (train_rows, at_once))
    np.testing.assert_array_equal(one_by_one, together)


def leading_dimensions(make):
    """The first dimension of everything that mapped functions return; None stands for scalars."""
    with tf.Graph().as_default() as graph:
        make(FILES, numbers, options(batch_size=5), Shard(index=1, count=3), Position(), parallel=False)
        nodes = [node for function in graph.as_graph_def().library.function for node in function.node_def]
    shapes = [shape for node in nodes if node.op == "MapDataset" for shape in node.attr["output_shapes"].list.shape]
    return {shape.dim[0].size if shape.dim else None for shape in shapes}


def test_functions_are_called_for_batches_of_the_own_shard_alone():
    """A function called for each example of all processes takes more time the more processes there are."""
    assert leading_dimensions(train_rows) == {5}
    assert leading_dimensions(example_by_example) == {None, 2, 5}  # an index, a seed; rows of the shard


def repeated(shard=None, start=None, *, repeats=3, batch_size=5, epochs=1):
    """Index, seed of the epoch and seed of the example of each row, ``[rows, 3]``, to the end of some epochs."""
    shard, start = shard or Shard(), start or Position()
    how = options(batch_size=batch_size, repeats=repeats, shuffle_buffer=40)
    steps = EXAMPLES // (batch_size * shard.count) * epochs - -(-start.example // (batch_size * shard.count))
    with tf.Graph().as_default():
        rows = tf.compat.v1.data.make_one_shot_iterator(train_rows(FILES, numbers, how, shard, start, parallel=False))
        row = rows.get_next()
        with quick_session() as session:
            step = session.make_callable([row["element"][0], row["seed"]])
            fetched = [step() for _ in range(steps)]
    return np.concatenate([np.column_stack([index, seed]) for index, seed in fetched])


def test_repeats_follow_each_other_with_seeds_of_their_own():
    """32 batches of 5 as without repeats, of 53 images three times and the next one once."""
    plain, rows = repeated(repeats=1), repeated()
    assert len(rows) == len(plain) == 160
    np.testing.assert_array_equal(rows[:, 0], np.repeat(plain[:54, 0], 3)[:160])  # the first images of the same order
    np.testing.assert_array_equal(rows[::3], plain[:54])  # the first of the repeats has the draws of no repeats
    assert len({tuple(seed) for seed in rows[:, 1:]}) == 160
    other = repeated(epochs=2)[160:]
    assert set(other[:, 0]) != set(rows[:, 0])
    assert not {*other[:, 1]} & {*rows[:, 1]}


@pytest.mark.parametrize("count", [2, 4])
def test_repeats_go_to_processes_in_turn_and_global_batches_stay_the_same(count):
    whole = repeated(batch_size=2 * count, epochs=2)
    parts = np.stack([repeated(Shard(index=i, count=count), batch_size=2, epochs=2) for i in range(count)], axis=1)
    np.testing.assert_array_equal(parts.reshape(whole.shape), whole)


@pytest.mark.parametrize("example", [5, 15, 95, 155])
def test_repeats_are_resumed_anywhere(example):
    np.testing.assert_array_equal(repeated(start=Position(example=example), epochs=2), repeated(epochs=2)[example:])


def places(examples, buffer, shuffle):
    """The place of each example in three epochs, ``[3, examples]``."""
    files = SplitFiles(tuple(f"records/{i}" for i in range(12)), (examples // 12,) * 12)
    how = options(batch_size=examples // 100, shuffle=shuffle, shuffle_buffer=buffer)
    with tf.Graph().as_default():
        rows = tf.compat.v1.data.make_one_shot_iterator(
            train_rows(files, numbers, how, Shard(), Position(), parallel=False)
        )
        index = rows.get_next()["element"][0]
        with quick_session() as session:
            step = session.make_callable(index)
            epochs = np.concatenate([step() for _ in range(300)]).reshape(3, examples)
    np.testing.assert_array_equal(np.sort(epochs), [np.arange(examples)] * 3)
    return np.argsort(epochs)


def test_a_shuffled_index_forgets_the_places_of_the_last_epoch():
    """A buffer of a hundredth of the data does not: its examples stay near their places in the files."""
    bound = 3 / 6000**0.5
    files_order = np.arange(6000)
    for found in (places(6000, 60, "index"), places(6000, 4096, "index")):
        correlations = np.corrcoef([files_order, *found])[np.triu_indices(4, 1)]
        assert (abs(correlations) < bound).all()
    assert np.corrcoef(places(6000, 60, "buffer"))[0, 1] > bound


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_shuffled_index_does_not_depend_on_processes_and_is_resumed_anywhere(repeats):
    how = {"shuffle": "index", "repeats": repeats}
    whole = two_epochs(train_rows, Shard(), Position(), **how)[0]
    shared = np.stack([two_epochs(train_rows, Shard(index=i, count=4), Position(), **how)[0] for i in range(4)])
    rows = whole[:160].reshape(8, 20), shared[:, :40].reshape(4, 8, 5).transpose(1, 0, 2).reshape(8, 20)
    np.testing.assert_array_equal(*(np.sort(each) for each in rows))
    resumed = two_epochs(train_rows, Shard(), Position(example=35), **how)[0]
    np.testing.assert_array_equal(resumed, whole[35:])
