"""The inputs of training, evaluation, benchmarks and prediction, each as a stream of batches in a graph.

Training reads the same examples in the same order in every run with the same seed, wherever it was interrupted and
however many processes share the work: file order, record order and augmentation follow from (seed, epoch, index of the
example in its split) alone, and a resumed run skips what was consumed before anything is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import tensorflow as tf

from utils.batching import (
    PADDING_INDEX,
    PREFETCHED_BATCHES,
    Batch,
    Example,
    Input,
    InputOptions,
    Position,
    RecordDecoder,
    Rows,
    Shard,
    decode_batches,
    make_input,
    rows_of_shard,
)
from utils.errors import UsageError
from utils.image_processing import CHANNELS
from utils.manifest import SplitFiles

# Files read at once, and records taken from one before the next: fixed, since they decide the order of the records.
INTERLEAVED_FILES = 10
INTERLEAVED_RECORDS = 8

# Synthetic pixels: truncated normal, roughly as bright and as varied as photographs.
SYNTHETIC_MEAN, SYNTHETIC_STD = 127.0, 60.0


class Reader(Protocol):
    """What reads the records of a split, as the functions of the same names here do."""

    def train_batches(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard, start: Position
    ) -> tf.data.Dataset:
        """An endless stream of augmented training batches from ``start`` on."""

    def eval_batches(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard
    ) -> tf.data.Dataset:
        """One pass over a split, or over each n-th example of it."""


class TensorFlowReader:
    """Reads records with tf.data alone."""

    def train_batches(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard, start: Position
    ) -> tf.data.Dataset:
        return train_batches(files, decoder, options, shard, start)

    def eval_batches(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard
    ) -> tf.data.Dataset:
        return eval_batches(files, decoder, options, shard)


def train_input(
    files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard, start: Position
) -> Input:
    """The input of training: ``train_batches`` in the current graph."""
    return make_input(train_batches(files, decoder, options, shard, start))


def train_batches(
    files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard, start: Position
) -> tf.data.Dataset:
    """An endless stream of augmented training batches from ``start`` on.

    Each epoch yields floor(examples / global batch) global batches, no example twice. Every shard reads all records
    and keeps its rows of each global batch. The shuffle buffer holds encoded records: 4,096 of ImageNet's size take
    450 MB in each process. Resuming reads, but does not decode, the part of the epoch that was consumed.

    Raises:
        UsageError: the global batch is larger than the data set.
    """

    def decode(row: Rows) -> Example:
        return decoder.train(row["serialized"], row["seed"], options)

    def read(path: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(path).enumerate(start=first)

    rows = train_rows(files, read, options, shard, start)
    rows = rows.map(lambda row: {"index": row["element"][0], "serialized": row["element"][1], "seed": row["seed"]})
    return decode_batches(rows, decode, decoder.train_targets, options)


# From the path of a file, the index of its first example and the number of its examples, (index, ...) for each.
ReadFile = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.data.Dataset]


def train_rows(
    files: SplitFiles, read: ReadFile, options: InputOptions, shard: Shard, start: Position
) -> tf.data.Dataset:
    """The batches of ``train_batches`` as ``{"element": what read gives, "seed": [2] int64}``, N rows each.

    The order follows from the indices alone, so that it is the same whatever else ``read`` gives.

    Raises:
        UsageError: the global batch is larger than the data set.
    """
    global_batch = options.batch_size * shard.count
    if global_batch > files.examples:
        raise UsageError(
            f"--batch_size {options.batch_size}: a step takes {global_batch} examples on {shard.count} replica(s), "
            f"more than the {files.examples} of the training split; must be at most {files.examples // shard.count}"
        )

    def epoch_rows(epoch: tf.Tensor) -> tf.data.Dataset:
        key = tf.random.stateless_uniform([], [options.seed, epoch], minval=None, maxval=None, dtype=tf.int64)
        elements = _shuffled(files, read, key, options.shuffle_buffer)
        elements = elements.skip(tf.where(tf.equal(epoch, start.epoch), tf.constant(start.example, tf.int64), 0))
        rows = elements.map(lambda *element: {"element": element, "seed": tf.stack([key, element[0]])})
        return rows_of_shard(rows, options.batch_size, shard)

    return tf.data.Dataset.counter(start.epoch, dtype=tf.int64).flat_map(epoch_rows)


def _shuffled(files: SplitFiles, read: ReadFile, key: tf.Tensor, shuffle_buffer: int) -> tf.data.Dataset:
    """What ``read`` gives of the files of a split, in an order that depends on the int64 ``key`` alone."""
    order = tf.argsort(tf.random.stateless_uniform([len(files.paths)], tf.stack([key, -1])))  # no example's seed
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

    The method would mix in the seed of the graph, and brings a stateful op that costs the pipeline its parallelism
    under ``TF_DETERMINISTIC_OPS``; so the op behind it is called directly.
    """
    spec = records.element_spec
    shuffled = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(records),
        buffer_size=tf.constant(buffer, tf.int64),
        seed=key,
        seed2=tf.constant(1, tf.int64),  # two zeros would mean an order by chance
        output_types=[part.dtype for part in tf.nest.flatten(spec)],
        output_shapes=[part.shape for part in tf.nest.flatten(spec)],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(shuffled, spec)


def eval_input(files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard) -> Input:
    """The input of evaluation: ``eval_batches`` in the current graph."""
    return make_input(eval_batches(files, decoder, options, shard))


def eval_batches(files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard) -> tf.data.Dataset:
    """One pass over a split, or over each n-th example of it, none twice, ended by ``tf.errors.OutOfRangeError``.

    Every shard yields ceil(examples / global batch) batches; what is missing in the last ones is padding.
    """
    records = tf.data.TFRecordDataset(list(files.paths)).enumerate()
    if options.eval_every > 1:
        records = records.shard(options.eval_every, 0)
    records = records.map(lambda index, record: {"index": index, "serialized": record})
    rows = rows_of_shard(_padded(records, options.batch_size * shard.count), options.batch_size, shard)
    return decode_batches(rows, lambda row: decoder.evaluate(row["serialized"], options), decoder.eval_targets, options)


def image_input(
    images: Iterable[bytes], preprocess: Callable[[tf.Tensor, int], tf.Tensor], options: InputOptions
) -> Input:
    """One pass over encoded images, each as ``preprocess(bytes, image_size)`` makes it; ``batch.targets`` is empty.

    Empty bytes are an image that could not be read: its row has the status UNDECODABLE. The last batch is padded.
    """

    def decode(row: Rows) -> Example:
        return Example(preprocess(row["serialized"], options.image_size), {}, tf.constant(True))

    encoded = tf.data.Dataset.from_generator(lambda: iter(images), output_signature=tf.TensorSpec([], tf.string))
    records = encoded.enumerate().map(lambda index, record: {"index": index, "serialized": record})
    rows = rows_of_shard(_padded(records, options.batch_size), options.batch_size, Shard())
    return make_input(decode_batches(rows, decode, {}, options))


def _padded(records: tf.data.Dataset, multiple: int) -> tf.data.Dataset:
    """Appends ``multiple - 1`` rows of padding: complete batches then cover every record, the rest is only padding."""
    padding = {"index": tf.constant([PADDING_INDEX], tf.int64), "serialized": tf.constant([b""])}
    return records.concatenate(tf.data.Dataset.from_tensor_slices(padding).repeat(multiple - 1))


def synthetic_input(options: InputOptions, targets: dict[str, tf.Tensor]) -> Input:
    """The same seeded batch for ever: noise with the brightness of photographs, and ``targets`` of N rows each."""
    count, size = options.batch_size, options.image_size
    seed = tf.constant([options.seed, 0], tf.int64)
    images = tf.random.stateless_truncated_normal([count, size, size, CHANNELS], seed, SYNTHETIC_MEAN, SYNTHETIC_STD)
    batch = Batch(images, targets, tf.zeros([count], tf.int32), tf.range(count, dtype=tf.int64))
    return make_input(tf.data.Dataset.from_tensors(batch).repeat().prefetch(PREFETCHED_BATCHES))
