"""The order in which training reads files and records: shuffled by seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from utils.errors import require_full_batch
from utils.input.batching import InputOptions, Position, Shard, rows_of_shard
from utils.records.manifest import SplitFiles

# Files read at once, and records taken from one before the next: constants, since they determine the order.
INTERLEAVED_FILES = 10
INTERLEAVED_RECORDS = 8

# Function of a file's path, the index of its first example and its number of examples; yields (index, ...) for each.
ReadFile = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.data.Dataset]


def train_rows(
    files: SplitFiles, read: ReadFile, options: InputOptions, shard: Shard, start: Position
) -> tf.data.Dataset:
    """The rows of ``train_batches``: ``{"element": from read, "seed": [2] int64}``, N rows per batch.

    The order depends on the indices alone, whatever else ``read`` returns.

    Raises:
        UsageError: The global batch is larger than the data set.
    """
    folder = str(Path(files.paths[0]).parent)
    require_full_batch(options.batch_size, shard.count, files.examples, folder)

    def epoch_rows(epoch: tf.Tensor) -> tf.data.Dataset:
        key = tf.random.stateless_uniform([], [options.seed, epoch], minval=None, maxval=None, dtype=tf.int64)
        elements = _shuffled(files, read, key, options.shuffle_buffer)
        elements = elements.skip(tf.where(tf.equal(epoch, start.epoch), tf.constant(start.example, tf.int64), 0))
        rows = elements.map(lambda *element: {"element": element, "seed": tf.stack([key, element[0]])})
        return rows_of_shard(rows, options.batch_size, shard)

    return tf.data.Dataset.counter(start.epoch, dtype=tf.int64).flat_map(epoch_rows)


def _shuffled(files: SplitFiles, read: ReadFile, key: tf.Tensor, shuffle_buffer: int) -> tf.data.Dataset:
    """The elements that ``read`` yields for a split's files, in an order that the int64 ``key`` alone determines."""
    order = tf.argsort(tf.random.stateless_uniform([len(files.paths)], tf.stack([key, -1])))  # the seed of no example
    parts = (tf.constant(files.paths), tf.constant(files.offsets, tf.int64), tf.constant(files.counts, tf.int64))
    elements = tf.data.Dataset.from_tensor_slices(tuple(tf.gather(part, order) for part in parts)).interleave(
        read,
        cycle_length=INTERLEAVED_FILES,
        block_length=INTERLEAVED_RECORDS,
        num_parallel_calls=INTERLEAVED_FILES,
        deterministic=True,
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
