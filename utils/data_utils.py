"""Inputs for training, evaluation, benchmarks and prediction, each a stream of batches in a graph.

With the same seed, training reads the same examples in the same order, wherever it was interrupted and however many
processes share the work. File order, record order and augmentation depend only on (seed, epoch, index of the example in
its split), and a resumed run skips consumed records before decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import tensorflow as tf

from utils.data_config import INDEX
from utils.image_processing import CHANNELS, image_shape
from utils.image_sizes import ImageSize, sides_of
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
    without_autograph,
)
from utils.input.indexed_records import indexed_eval_rows, indexed_train_rows
from utils.input.record_order import only_chosen, train_rows
from utils.records.record_index import scanned_index, shuffles_numbers, split_index
from utils.records.split_files import SplitFiles

# Synthetic pixels: truncated normal, roughly as bright and as varied as photographs.
SYNTHETIC_MEAN, SYNTHETIC_STD = 127.0, 60.0

PICTURE_SIZES = "image_size"
"""Target of images in evaluation and prediction: heights and widths in pixels of the originals, ``[N, 2]`` int32."""


class Reader(Protocol):
    """Reads the records of a split; ``TensorFlowReader`` documents the contract of each method."""

    def train_input(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard, start: Position
    ) -> Input:
        """An endless stream of augmented training batches that begins at ``start``."""

    def eval_input(self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard) -> Input:
        """One pass over a split, or over every n-th example of it."""


class TensorFlowReader:
    """Reads records with tf.data alone.

    A single process reads its files from end to end. Several processes use an index, which they create if it is
    missing, so that each reads only its own records. So does a single process that shuffles the index, and one whose
    records are drawn by class or would fill the memory while they are shuffled; the latter two create no files.
    """

    def train_input(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard, start: Position
    ) -> Input:
        """An endless stream of augmented training batches that begins at ``start``.

        Each epoch yields floor(examples / global batch) global batches, no example twice. In a process that reads its
        files from end to end, the shuffle buffer holds encoded records, and resuming reads the consumed part of the
        epoch without decoding it.

        Raises:
            UsageError: The global batch is larger than the data set.
            RunError: The index of the records cannot be created.
        """
        if shard.count > 1 or options.shuffle == INDEX:
            rows = indexed_train_rows(files, split_index(files, None), options, shard, start)
        elif options.balance is not None or shuffles_numbers(files, options.shuffle_buffer):
            rows = indexed_train_rows(files, scanned_index(files), options, shard, start)
        else:
            rows = _sequential_train_rows(files, options, start)
        return make_input(
            decode_batches(
                rows,
                lambda row: decoder.train(row["serialized"], row["seed"], options),
                decoder.train_targets,
                options,
            )
        )

    def eval_input(self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard) -> Input:
        """One pass over a split, or over every n-th example of it; ends with ``tf.errors.OutOfRangeError``.

        Every shard yields ceil(examples / global batch) batches, the last ones filled up with padding; no example comes
        twice.

        Raises:
            RunError: The index that several processes need cannot be created.
        """
        if shard.count > 1:
            rows = indexed_eval_rows(files, split_index(files, None), options, shard)
        else:
            rows = _sequential_eval_rows(files, options)
        return make_input(
            decode_batches(
                rows, lambda row: decoder.evaluate(row["serialized"], options), decoder.eval_targets, options
            )
        )


def _sequential_train_rows(files: SplitFiles, options: InputOptions, start: Position) -> tf.data.Dataset:
    def read(path: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
        return only_chosen(tf.data.TFRecordDataset(path).enumerate(start=first), files)

    rows = train_rows(files, read, options, Shard(), start, parallel=True)
    return rows.map(lambda row: {"index": row["element"][0], "serialized": row["element"][1], "seed": row["seed"]})


def _sequential_eval_rows(files: SplitFiles, options: InputOptions) -> tf.data.Dataset:
    records = only_chosen(tf.data.TFRecordDataset(list(files.paths)).enumerate(), files)
    if options.eval_every > 1:
        records = records.shard(options.eval_every, 0)
    records = records.map(lambda index, record: {"index": index, "serialized": record})
    return _padded(records, options.batch_size)


@without_autograph
def image_input(
    images: Iterable[bytes], preprocess: Callable[[tf.Tensor, ImageSize], tf.Tensor], options: InputOptions
) -> Input:
    """One pass over encoded images, converted by ``preprocess(bytes, image_size)``.

    ``batch.targets`` holds ``PICTURE_SIZES`` if the images get a border, else nothing. Empty bytes stand for an image
    that could not be read; its row has the status UNDECODABLE. The last batch is padded.
    """
    targets = {} if options.border is None else {PICTURE_SIZES: tf.TensorSpec([2], tf.int32)}

    def decode(row: Rows) -> Example:
        encoded = row["serialized"]
        found = {name: image_shape(encoded) for name in targets}
        return Example(preprocess(encoded, options.image_size), found, tf.constant(True))

    encoded = tf.data.Dataset.from_generator(lambda: iter(images), output_signature=tf.TensorSpec([], tf.string))
    records = encoded.enumerate().map(lambda index, record: {"index": index, "serialized": record})
    return make_input(decode_batches(_padded(records, options.batch_size), decode, targets, options))


def _padded(records: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Batches of ``batch_size`` that cover every record; rows of padding fill up the last one."""
    padding = {"index": tf.constant([PADDING_INDEX], tf.int64), "serialized": tf.constant([b""])}
    filled = records.concatenate(tf.data.Dataset.from_tensor_slices(padding).repeat(batch_size - 1))
    return filled.batch(batch_size, drop_remainder=True)


def synthetic_input(options: InputOptions, targets: dict[str, tf.Tensor]) -> Input:
    """An endless stream of one seeded batch: noise as bright as photographs, and ``targets`` of N rows each."""
    count = options.batch_size
    shape, seed = [count, *sides_of(options.image_size), CHANNELS], tf.constant([options.seed, 0], tf.int64)
    images = tf.random.stateless_truncated_normal(shape, seed, SYNTHETIC_MEAN, SYNTHETIC_STD)
    batch = Batch(images, targets, tf.zeros([count], tf.int32), tf.range(count, dtype=tf.int64))
    return make_input(tf.data.Dataset.from_tensors(batch).repeat().prefetch(PREFETCHED_BATCHES))
