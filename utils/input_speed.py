"""How fast the input pipeline is by itself, and how much of its time goes into decoding."""

from __future__ import annotations

import time
from dataclasses import dataclass

import tensorflow as tf

from utils.batching import PREFETCHED_BATCHES, InputOptions, Position, Shard, make_iterator
from utils.data_utils import eval_batches, train_batches
from utils.image_processing import decode_and_random_crop, decode_full
from utils.labelled_images import LABELLED_IMAGES, parse_example
from utils.manifest import SplitFiles

WARMUP_BATCHES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpeed:
    """Images per second of the whole pipeline, and of reading and decoding the same images without the rest."""

    pipeline: float
    decoding: float

    @property
    def decoding_share(self) -> float:
        """Share of reading and decoding in the time of an image; the rest is mirroring, resizing and batching."""
        return min(1.0, self.pipeline / self.decoding)


def measure_input(files: SplitFiles, options: InputOptions, training: bool, batches: int) -> InputSpeed:
    """Times ``batches`` batches of the pipeline, then as many of decoding alone, each after a warm-up.

    Raises:
        UsageError: a training batch larger than the split.
    """
    return InputSpeed(
        pipeline=_images_per_second(files, options, training, batches, decoding_alone=False),
        decoding=_images_per_second(files, options, training, batches, decoding_alone=True),
    )


def _images_per_second(
    files: SplitFiles, options: InputOptions, training: bool, batches: int, *, decoding_alone: bool
) -> float:
    with tf.Graph().as_default():
        if decoding_alone:
            stream = _decoded_alone(files, options, training)
        elif training:
            stream = train_batches(files, LABELLED_IMAGES, options, Shard(), Position())
        else:
            stream = eval_batches(files, LABELLED_IMAGES, options, Shard()).repeat()
        iterator = make_iterator(stream)
        fetch = tf.nest.flatten(iterator.get_next())[-1]
        with tf.compat.v1.Session() as session:
            session.run(iterator.initializer)
            for _ in range(WARMUP_BATCHES):
                session.run(fetch)
            begin = time.perf_counter()
            for _ in range(batches):
                session.run(fetch)
            return batches * options.batch_size / (time.perf_counter() - begin)


def _decoded_alone(files: SplitFiles, options: InputOptions, training: bool) -> tf.data.Dataset:
    """Batches of the number of pixels decoded of each image, for ever."""

    def pixels(index: tf.Tensor, record: tf.Tensor) -> tf.Tensor:
        encoded, _, boxes = parse_example(record)
        if not training:
            return tf.size(decode_full(encoded))
        seed = tf.stack([tf.constant(options.seed, tf.int64), index])
        return tf.size(decode_and_random_crop(encoded, boxes, seed, options.min_crop_area))

    records = tf.data.TFRecordDataset(list(files.paths)).enumerate().repeat()
    decoded = records.map(pixels, num_parallel_calls=options.decode_threads, deterministic=True).ignore_errors()
    return decoded.batch(options.batch_size, drop_remainder=True).prefetch(PREFETCHED_BATCHES)
