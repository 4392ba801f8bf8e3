"""The order in which training reads files and records: shuffled by seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from utils.data_config import INDEX
from utils.errors import require_full_batch
from utils.input.balanced_order import balanced_order
from utils.input.batching import InputOptions, Position, Shard
from utils.records.split_files import SplitFiles

# Files read at once, and records taken from one before the next: constants, since they determine the order.
INTERLEAVED_FILES = 10
INTERLEAVED_RECORDS = 8
_MOST_EXAMPLES = 2**40

# Function of a file's path, the index of its first example and its number of examples; yields (index, ...) for each.
ReadFile = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.data.Dataset]


def train_rows(
    files: SplitFiles, read: ReadFile, options: InputOptions, shard: Shard, start: Position, *, parallel: bool
) -> tf.data.Dataset:
    """The rows of a training input: ``{"element": from read, "seed": [2] int64}``, N rows per batch.

    An epoch has as many rows with ``options.repeats`` as without: it holds so many times fewer examples, each as often,
    one time after the other, and its last example less often if the repeats do not divide the epoch. Repeats have seeds
    of their own, and processes take turns with them. A start within a global batch is then that of the next one.

    Source: Berman et al., MultiGrain, arXiv:1902.05509, section 3.1.

    The order depends on the indices alone, whatever else ``read`` returns. Every process goes through the examples of
    all processes, so no function from Python is called before only the rows of its own shard are left: such a call
    takes longer than all other work for an example of another process.

    Args:
        files: The split.
        read: What to read of a file; not called if the index is shuffled, whose elements are numbers of examples.
        options: Batch size, seed, kind and buffer of the shuffling, and repeats. With a balance, examples are drawn by
            class, and ``read`` must yield nothing but indices; the place in the epoch seeds the augmentation, as an
            example may come twice.
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
        if options.shuffle == INDEX:
            elements = _shuffled_numbers(files, key)
        else:
            elements = _shuffled(files, read, key, options.shuffle_buffer, parallel=parallel)
        if options.repeats > 1:
            repeated = _repeated_rows_of_shard(elements, files.examples, consumed, options, shard)
            return repeated.map(lambda repeat, *element: {"element": element, "seed": _seeds(key, element[0], repeat)})
        rows = _rows_of_shard(elements.skip(consumed), files.examples - consumed, options.batch_size, shard)
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


def _seeds(key: tf.Tensor, index: tf.Tensor, repeat: tf.Tensor | int = 0) -> tf.Tensor:
    """The seed of each row, ``[N, 2]`` int64."""
    return tf.stack([tf.fill(tf.shape(index), key), index + _MOST_EXAMPLES * repeat], axis=1)


def _rows_of_shard(elements: tf.data.Dataset, count: tf.Tensor, batch_size: int, shard: Shard) -> tf.data.Dataset:
    """Batches for one shard: its rows of every ``batch_size * shard.count`` of the ``count`` elements.

    An incomplete rest is dropped.
    """
    batches = elements.batch(batch_size, drop_remainder=True)
    if shard.count == 1:
        return batches
    global_batches = count // (batch_size * shard.count)
    return batches.take(global_batches * shard.count).shard(shard.count, shard.index)


def _repeated_rows_of_shard(
    elements: tf.data.Dataset, count: int, consumed: tf.Tensor, options: InputOptions, shard: Shard
) -> tf.data.Dataset:
    """Batches for one shard of an epoch of ``count`` rows that repeats its elements: repeat [N] int64, and elements.

    Of one global batch, the rows go to the shards in turn. As many elements as a global batch has rows fill
    ``options.repeats`` of them; one call of a function makes these.
    """
    size, repeats = options.batch_size * shard.count, options.repeats
    done = -(-consumed // size)

    def of_shard(values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values, [repeats, options.batch_size, shard.count])[:, :, shard.index]

    blocks = elements.skip(done // repeats * size).batch(size, drop_remainder=True)
    numbers = tf.range(repeats, dtype=tf.int64)
    rows = blocks.map(
        lambda *element: (
            of_shard(tf.tile(numbers, [size])),
            *(of_shard(tf.repeat(values, repeats)) for values in element),
        )
    ).unbatch()
    return rows.skip(done % repeats).take(count // size - done)


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


def _shuffled_numbers(files: SplitFiles, key: tf.Tensor) -> tf.data.Dataset:
    """The indices of a split's examples, int64, in an order that the int64 ``key`` alone determines.

    All orders are equally likely. It sorts numbers of 64 bits, which hardly ever tie. 1.3 million take 0.15 s of each
    epoch.
    """
    drawn = tf.random.stateless_uniform([files.examples], tf.stack([key, -1]), minval=None, maxval=None, dtype=tf.int64)
    order = tf.cast(tf.argsort(drawn), tf.int64)
    return tf.data.Dataset.from_tensor_slices(
        (order if files.chosen is None else tf.gather(tf.constant(files.chosen, tf.int64), order),)
    )


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
