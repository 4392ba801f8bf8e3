"""The order in which training reads files and records: shuffled by seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from utils.errors import require_full_batch
from utils.input.balanced_order import balanced_order
from utils.input.batching import InputOptions, Position, Shard
from utils.records.manifest import SplitFiles

# Files read at once, and records taken from one before the next: constants, since they determine the order.
INTERLEAVED_FILES = 10
INTERLEAVED_RECORDS = 8

# Function of a file's path, the index of its first example and its number of examples; yields (index, ...) for each.
ReadFile = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.data.Dataset]


def train_rows(
    files: SplitFiles, read: ReadFile, options: InputOptions, shard: Shard, start: Position, *, parallel: bool
) -> tf.data.Dataset:
    """The rows of a training input: ``{"element": from read, "seed": [2] int64}``, N rows per batch.

    The order depends on the indices alone, whatever else ``read`` returns. Every process goes through the examples of
    all processes, so no function from Python is called before only the rows of its own shard are left: such a call
    takes longer than all other work for an example of another process.

    Args:
        files: The split.
        read: What to read of a file.
        options: Batch size, seed and shuffle buffer. With a balance, examples are drawn by class, and ``read`` must
            yield nothing but indices; the place in the epoch seeds the augmentation, as an example may come twice.
        shard: The rows to return of each global batch.
        start: The position of the first batch.
        parallel: Read several files at once, for a ``read`` that waits for files.

    Raises:
        UsageError: The global batch is larger than the data set.
    """
    folder = str(Path(files.paths[0]).parent)
    require_full_batch(options.batch_size, shard.count, files.examples, folder)

    def epoch_rows(epoch: tf.Tensor) -> tf.data.Dataset:
        key = tf.random.stateless_uniform([], [options.seed, epoch], minval=None, maxval=None, dtype=tf.int64)
        consumed = tf.where(tf.equal(epoch, start.epoch), tf.constant(start.example, tf.int64), 0)
        if options.balance is not None:
            order = balanced_order(options.balance, files.examples, key)
            drawn = tf.data.Dataset.from_tensor_slices(order).enumerate().skip(consumed)
            rows = _rows_of_shard(drawn, files.examples - consumed, options.batch_size, shard)
            return rows.map(lambda place, number: {"element": (number,), "seed": _seeds(key, place)})
        elements = _shuffled(files, read, key, options.shuffle_buffer, parallel=parallel).skip(consumed)
        rows = _rows_of_shard(elements, files.examples - consumed, options.batch_size, shard)
        return rows.map(lambda *element: {"element": element, "seed": _seeds(key, element[0])})

    return tf.data.Dataset.counter(start.epoch, dtype=tf.int64).flat_map(epoch_rows)


def only_chosen(records: tf.data.Dataset, files: SplitFiles) -> tf.data.Dataset:
    """The elements, (index, ...) each, of the split's chosen examples."""
    if files.chosen is None:
        return records
    mask = np.zeros([files.stored], np.bool_)
    mask[list(files.chosen)] = True
    wanted = tf.constant(mask)
    return records.filter(lambda index, *_: tf.gather(wanted, index))


def _seeds(key: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """The seed of each row, ``[N, 2]`` int64."""
    return tf.stack([tf.fill(tf.shape(index), key), index], axis=1)


def _rows_of_shard(elements: tf.data.Dataset, count: tf.Tensor, batch_size: int, shard: Shard) -> tf.data.Dataset:
    """Batches for one shard: its rows of every ``batch_size * shard.count`` of the ``count`` elements.

    An incomplete rest is dropped.
    """
    batches = elements.batch(batch_size, drop_remainder=True)
    if shard.count == 1:
        return batches
    global_batches = count // (batch_size * shard.count)
    return batches.take(global_batches * shard.count).shard(shard.count, shard.index)


def _shuffled(
    files: SplitFiles, read: ReadFile, key: tf.Tensor, shuffle_buffer: int, *, parallel: bool
) -> tf.data.Dataset:
    """The elements that ``read`` yields for a split's files, in an order that the int64 ``key`` alone determines."""
    order = tf.argsort(tf.random.stateless_uniform([len(files.paths)], tf.stack([key, -1])))  # the seed of no example
    parts = (tf.constant(files.paths), tf.constant(files.offsets, tf.int64), tf.constant(files.counts, tf.int64))
    in_flight = {"num_parallel_calls": INTERLEAVED_FILES, "deterministic": True} if parallel else {}
    elements = tf.data.Dataset.from_tensor_slices(tuple(tf.gather(part, order) for part in parts)).interleave(
        read, cycle_length=INTERLEAVED_FILES, block_length=INTERLEAVED_RECORDS, **in_flight
    )
    return _shuffle(elements, min(shuffle_buffer, files.examples), key)


def _shuffle(records: tf.data.Dataset, buffer: int, key: tf.Tensor) -> tf.data.Dataset:
    """``records.shuffle`` in an order that depends on ``key`` alone.

    The method would mix in the seed of the graph, and its stateful op would cost the pipeline its parallelism under
    ``TF_DETERMINISTIC_OPS``. So this calls the underlying op directly.
    """
    spec = records.element_spec
    shuffled = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(records),
        buffer_size=tf.constant(buffer, tf.int64),
        seed=key,
        seed2=tf.constant(1, tf.int64),  # two zeros would mean a random order
        output_types=[part.dtype for part in tf.nest.flatten(spec)],
        output_shapes=[part.shape for part in tf.nest.flatten(spec)],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(shuffled, spec)
