"""The inputs of training, evaluation, benchmarks and prediction, each as a stream of batches in a graph.

Training reads the same examples in the same order in every run with the same seed, wherever it was interrupted and
however many processes share the work: file order, record order and augmentation follow from (seed, epoch, index of the
example in its split) alone, and a resumed run skips what was consumed before anything is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import tensorflow as tf

from utils.image_processing import CHANNELS
from utils.input.batching import (
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
from utils.input.indexed_records import indexed_eval_rows, indexed_train_rows
from utils.input.record_order import train_rows
from utils.records.manifest import SplitFiles
from utils.records.record_index import split_index

# Synthetic pixels: truncated normal, roughly as bright and as varied as photographs.
SYNTHETIC_MEAN, SYNTHETIC_STD = 127.0, 60.0


class Reader(Protocol):
    """Reads the records of a split; ``TensorFlowReader`` says what each method promises."""

    def train_batches(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard, start: Position
    ) -> tf.data.Dataset:
        """An endless stream of augmented training batches from ``start`` on."""

    def eval_batches(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard
    ) -> tf.data.Dataset:
        """One pass over a split, or over each n-th example of it."""


class TensorFlowReader:
    """Reads records with tf.data alone.

    One process reads its files from end to end. Several that share a training go by an index of the records, each to
    its own, which they make where it is missing: else every process would read all of them.
    """

    def train_batches(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard, start: Position
    ) -> tf.data.Dataset:
        """An endless stream of augmented training batches from ``start`` on.

        Each epoch yields floor(examples / global batch) global batches, no example twice. In one process the shuffle
        buffer holds encoded records: 4,096 of ImageNet's size take 450 MB; and resuming reads, but does not decode, the
        part of the epoch that was consumed.

        Raises:
            UsageError: The global batch is larger than the data set.
            RunError: The index that several processes need cannot be made.
        """
        if shard.count > 1:
            rows = indexed_train_rows(files, split_index(files, None), options, shard, start)
        else:
            rows = _sequential_train_rows(files, options, start)
        return decode_batches(
            rows,
            lambda row: decoder.train(row["serialized"], row["seed"], options),
            decoder.train_targets,
            options,
        )

    def eval_batches(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard
    ) -> tf.data.Dataset:
        """One pass over a split, or over each n-th example of it, none twice, ended by ``tf.errors.OutOfRangeError``.

        Every shard yields ceil(examples / global batch) batches; what is missing in the last ones is padding.

        Raises:
            RunError: The index that several processes need cannot be made.
        """
        if shard.count > 1:
            rows = indexed_eval_rows(files, split_index(files, None), options, shard)
        else:
            rows = _sequential_eval_rows(files, options)
        return decode_batches(
            rows, lambda row: decoder.evaluate(row["serialized"], options), decoder.eval_targets, options
        )


def _sequential_train_rows(files: SplitFiles, options: InputOptions, start: Position) -> tf.data.Dataset:
    def read(path: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(path).enumerate(start=first)

    rows = train_rows(files, read, options, Shard(), start)
    return rows.map(lambda row: {"index": row["element"][0], "serialized": row["element"][1], "seed": row["seed"]})


def _sequential_eval_rows(files: SplitFiles, options: InputOptions) -> tf.data.Dataset:
    records = tf.data.TFRecordDataset(list(files.paths)).enumerate()
    if options.eval_every > 1:
        records = records.shard(options.eval_every, 0)
    records = records.map(lambda index, record: {"index": index, "serialized": record})
    return rows_of_shard(_padded(records, options.batch_size), options.batch_size, Shard())


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
