"""Reads records by index: in any order, each process only its own, and consumed ones never again.

Batches hold the same examples in the same order as when files are read from end to end (``utils/data_utils.py``).
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from utils.input.batching import BATCHES_IN_FLIGHT, PADDING_INDEX, InputOptions, Position, Rows, Shard
from utils.input.record_order import only_chosen, train_rows
from utils.records.record_index import Index
from utils.records.split_files import SplitFiles

READS_IN_FLIGHT = 8  # per batch: enough for disks and file servers with high latency


def indexed_train_rows(
    files: SplitFiles, index: Index, options: InputOptions, shard: Shard, start: Position
) -> tf.data.Dataset:
    """The rows of ``train_rows``: "index" and "serialized", N rows each, and "seed", ``[N, 2]`` int64.

    Raises:
        UsageError: The global batch is larger than the data set.
    """

    def numbers(path: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
        return only_chosen(tf.data.Dataset.range(first, first + count), files)

    rows = train_rows(files, numbers, options, shard, start, parallel=False)
    rows = rows.map(lambda row: {"index": row["element"][0], "seed": row["seed"]})
    return _with_records(rows, files, index, options.batch_size)


def indexed_eval_rows(files: SplitFiles, index: Index, options: InputOptions, shard: Shard) -> tf.data.Dataset:
    """The rows of an evaluation input: "index" and "serialized", N rows each, padded at the end."""
    numbers = np.array(files.indices[:: options.eval_every])
    padding = np.full(-len(numbers) % (options.batch_size * shard.count), PADDING_INDEX)
    batches = np.concatenate([numbers, padding]).reshape(-1, shard.count, options.batch_size)
    rows = tf.data.Dataset.from_tensor_slices({"index": batches[:, shard.index].astype(np.int64)})
    return _with_records(rows, files, index, options.batch_size)


def _with_records(rows: tf.data.Dataset, files: SplitFiles, index: Index, batch_size: int) -> tf.data.Dataset:
    """Adds "serialized": the record of each row; empty bytes for padding, which comes last."""
    paths, firsts = tf.constant(files.paths), tf.constant(files.offsets, tf.int64)
    offsets, sizes = (tf.constant(column, tf.int64) for column in index.T)

    def record(number: tf.Tensor) -> tf.data.Dataset:
        file = tf.searchsorted(firsts, number[tf.newaxis], side="right")[0] - 1
        # TensorFlow's own reader verifies the checksums; its public class has no byte offset. It opens the file for
        # each record, which on a local disk takes a small part of the time of reading a photograph. To keep files open
        # would need a call of Python for each record (2.21), which took several times as long as all the rest.
        reader = tf.raw_ops.TFRecordDatasetV2(
            filenames=paths[file],
            compression_type="",
            buffer_size=sizes[number],
            byte_offsets=offsets[number],
        )
        return tf.data.experimental.from_variant(reader, tf.TensorSpec([], tf.string)).take(1)

    def read(batch: Rows) -> tf.data.Dataset:
        real = tf.reduce_sum(tf.cast(tf.not_equal(batch["index"], PADDING_INDEX), tf.int32))
        records = tf.data.Dataset.from_tensor_slices(batch["index"][:real]).interleave(
            record, cycle_length=READS_IN_FLIGHT, num_parallel_calls=READS_IN_FLIGHT, deterministic=True
        )
        padding = tf.data.Dataset.from_tensor_slices(tf.fill([batch_size - real], ""))
        whole = records.concatenate(padding).batch(batch_size, drop_remainder=True)
        return whole.map(lambda serialized: batch | {"serialized": serialized})

    return rows.interleave(
        read, cycle_length=BATCHES_IN_FLIGHT, num_parallel_calls=BATCHES_IN_FLIGHT, deterministic=True
    )
