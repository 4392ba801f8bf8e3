"""Speed of an input pipeline alone, and of its reading and decoding alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from utils.image_processing import decode_full, decode_window
from utils.input.batching import PREFETCHED_BATCHES, Input, InputOptions, make_iterator
from utils.input.labelled_images import parse_example, parse_for_training
from utils.records.split_files import SplitFiles

WARMUP_BATCHES = 10


def input_speed(build: Callable[[], Input], batch_size: int, batches: int) -> float:
    """Images per second of the input that ``build`` makes in the current graph, from record to batch.

    An input that ends is restarted; the time of the restart counts.
    """
    with tf.Graph().as_default():
        stream = build()
        # Fetching any part of a batch computes all of it.
        return batch_size * _rate(stream.batch.index, stream.initializer, batches)


def decoding_speed(files: SplitFiles, options: InputOptions, batches: int, *, cropping: bool) -> float:
    """Images per second of TensorFlow's reading and decoding alone, of whole images or of random crops."""

    def pixels(index: tf.Tensor, record: tf.Tensor) -> tf.Tensor:
        if not cropping:
            return tf.size(decode_full(parse_example(record).encoded))
        seed = tf.stack([tf.constant(options.seed, tf.int64), index])
        view = parse_for_training(record, seed, options).view
        return tf.size(decode_window(view.encoded, view.window))

    with tf.Graph().as_default():
        records = tf.data.TFRecordDataset(list(files.paths)).enumerate().repeat()
        decoded = records.map(pixels, num_parallel_calls=options.decode_threads, deterministic=True).ignore_errors()
        stream = decoded.batch(options.batch_size, drop_remainder=True).prefetch(PREFETCHED_BATCHES)
        iterator = make_iterator(stream)
        return options.batch_size * _rate(iterator.get_next(), iterator.initializer, batches)


def _rate(batch: Any, initializer: Any, batches: int) -> float:
    """Batches per second after a warm-up."""
    with tf.compat.v1.Session() as session:
        session.run(initializer)

        def fetch(count: int) -> None:
            while count:
                try:
                    session.run(batch)
                    count -= 1
                except tf.errors.OutOfRangeError:
                    session.run(initializer)

        fetch(WARMUP_BATCHES)
        began = time.perf_counter()
        fetch(batches)
        return batches / (time.perf_counter() - began)
