"""The contract of every input, and how records become batches of which each row is accounted for.

A row that cannot be read keeps its place in the batch with a status, instead of ending the run or shifting the rows
behind it. N is the batch size of one replica.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from utils.errors import require
from utils.image_processing import CHANNELS, View, decode_view
from utils.input.augmentation import ChangePixels, StepTable, pixel_change
from utils.input.augmentation_specs import AugmentationStep

STATUS_OK = 0
STATUS_PADDING = 1
STATUS_UNDECODABLE = 2
STATUS_BAD_LABEL = 3

PADDING_INDEX = -1

# Batches in the making at once: two keep the threads busy across the end of a batch, more only cost memory.
BATCHES_IN_FLIGHT = 2
PREFETCHED_BATCHES = 2


class Batch(NamedTuple):
    """One batch of a replica; every input (TFRecords, DALI, synthetic) yields this.

    Attributes:
        images: ``[N, H, W, 3]`` float32, raw RGB in 0..255; the task's graph normalizes, once.
        targets: what the task's decoder gives, N rows each, such as ``{"labels": [N] int32}``; empty where images come
            without. Tensors whose shapes differ from example to example are padded with zeros to the batch's largest.
        status: ``[N]`` int32. 0: a real example; ``STATUS_PADDING``: fills the last batch; ``STATUS_UNDECODABLE`` and
            ``STATUS_BAD_LABEL``: an example that must not count. The image of all but the first kind is that of
            another example of the batch (zeros if none is good), so that batch statistics stay sane; its targets are
            zeros.
        index: ``[N]`` int64, index of the example in its split; -1 for padding.
    """

    images: tf.Tensor
    targets: dict[str, tf.Tensor]
    status: tf.Tensor
    index: tf.Tensor

    @property
    def mask(self) -> tf.Tensor:
        """``[N]`` float32, 1 where the row is a real example."""
        return tf.cast(tf.equal(self.status, STATUS_OK), tf.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One replica of ``count``, by its index."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"shard {self.index} of {self.count}: the index must be at least 0 and below the count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in the training data: ``example`` examples of ``epoch`` were consumed by all shards together."""

    epoch: int = 0
    example: int = 0

    def __post_init__(self) -> None:
        if self.epoch < 0 or self.example < 0:
            raise ValueError(f"position at epoch {self.epoch}, example {self.example}: both must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A stream of batches inside a graph.

    Attributes:
        batch: the next batch, each time it is fetched.
        initializer: run it before the first batch.
        wait_seconds: float64 scalar, how long fetching this very batch blocked.
    """

    batch: Batch
    initializer: tf.Operation
    wait_seconds: tf.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """Options of an input.

    ``batch_size`` is per replica, ``augmentation`` lists the steps that training images go through in their order,
    ``threads`` None means one per CPU of this process; evaluation reads each ``eval_every``-th example.
    """

    image_size: int
    batch_size: int
    num_classes: int
    label_offset: int
    seed: int
    augmentation: tuple[AugmentationStep, ...] = ()
    threads: int | None = None
    shuffle_buffer: int = 4096
    eval_every: int = 1

    def __post_init__(self) -> None:
        require(self.image_size > 0, "image_size", self.image_size, "a positive integer")
        require(self.batch_size > 0, "batch_size", self.batch_size, "a positive integer")
        require(self.shuffle_buffer > 0, "shuffle_buffer", self.shuffle_buffer, "a positive integer")
        require(self.threads is None or self.threads > 0, "threads", self.threads, "a positive integer")

    @property
    def decode_threads(self) -> int:
        return self.threads if self.threads is not None else len(os.sched_getaffinity(0))


class Example(NamedTuple):
    """One decoded example: ``[S, S, 3]`` float32 image, the task's targets, and whether these may be trained on."""

    image: tf.Tensor
    targets: dict[str, tf.Tensor]
    valid: tf.Tensor


class UndecodedExample(NamedTuple):
    """An example before its image is decoded: the view to decode, and the rest as in ``Example``."""

    view: View
    targets: dict[str, tf.Tensor]
    valid: tf.Tensor


# Rows of one batch before decoding: a dict with "index" [N] int64 and whatever the decoder needs, N rows each.
Rows = dict[str, Any]
Decoder = Callable[[Rows], Any]
TargetSpecs = dict[str, tf.TensorSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDecoder:
    """Makes examples of records of one kind.

    Attributes:
        parse_for_training: From a serialized record and an int64 [2] seed, augmented but for its colors.
        parse_for_evaluation: From a serialized record.
        train_targets: Types of the targets of one training example.
        eval_targets: Types of the targets of one evaluation example.
        steps: How this kind of records takes each step of augmentation.
    """

    parse_for_training: Callable[[tf.Tensor, tf.Tensor, InputOptions], UndecodedExample]
    parse_for_evaluation: Callable[[tf.Tensor, InputOptions], UndecodedExample]
    train_targets: TargetSpecs
    eval_targets: TargetSpecs
    steps: StepTable

    def pixel_change(self, options: InputOptions) -> ChangePixels | None:
        """The photometric part of the augmentation: a function of a training example's square and seed, or None."""
        return pixel_change(options.augmentation, self.steps)

    def train(self, serialized: tf.Tensor, seed: tf.Tensor, options: InputOptions) -> Example:
        """A training example, its image decoded by TensorFlow."""
        view, targets, valid = self.parse_for_training(serialized, seed, options)
        image = decode_view(view, options.image_size)
        change = self.pixel_change(options)
        return Example(image if change is None else change(image, seed), targets, valid)

    def evaluate(self, serialized: tf.Tensor, options: InputOptions) -> Example:
        """An evaluation example, its image decoded by TensorFlow."""
        view, targets, valid = self.parse_for_evaluation(serialized, options)
        return Example(decode_view(view, options.image_size), targets, valid)


def decode_batches(
    rows: tf.data.Dataset, decode: Decoder, targets: TargetSpecs, options: InputOptions
) -> tf.data.Dataset:
    """Turns a dataset of batches of undecoded ``Rows`` into one of ``Batch`` tuples, in parallel and in order.

    ``targets`` are the types of one example's targets; a side of None is padded. ``decode`` makes an ``Example``.
    """
    size = options.image_size
    blank = Example(tf.zeros([size, size, CHANNELS]), blank_targets(targets), tf.constant(False))
    decoded = readable_rows(rows, decode, blank, targets, options)
    batches = decoded.map(lambda index, row, example: assemble_batch(index, row, example, options))
    return batches.prefetch(PREFETCHED_BATCHES)


def blank_targets(targets: TargetSpecs) -> dict[str, tf.Tensor]:
    """The targets of a row that could not be read: zeros."""
    return {name: tf.zeros([side or 0 for side in spec.shape], spec.dtype) for name, spec in targets.items()}


def readable_rows(
    rows: tf.data.Dataset, decode: Decoder, blank: Any, targets: TargetSpecs, options: InputOptions
) -> tf.data.Dataset:
    """For each batch of rows: the index of all, then the row numbers and what ``decode`` makes of those it can decode.

    Behind these comes ``blank`` with the row number N, so that there is always one.

    The rows of a batch go through an inner dataset that drops those whose decoding fails; who is missing is known from
    the row numbers that come out. One inner dataset per batch costs a few per cent of the time of decoding, one per
    image, a third of it.

    Under ``TF_DETERMINISTIC_OPS`` TensorFlow takes parallelism and prefetching out of a pipeline that has a stateful op
    it does not know. ``get_single_element``, ``from_tensors`` and ``shuffle`` are such; none of them is used here.
    """
    count = options.batch_size
    fixed = all(spec.shape.is_fully_defined() for spec in targets.values())
    last = tf.nest.map_structure(lambda value: value[tf.newaxis], (tf.constant(count), blank))

    def decodable(batch: Rows) -> tf.data.Dataset:
        real = tf.reduce_sum(tf.cast(tf.not_equal(batch["index"], PADDING_INDEX), tf.int32))
        # Padding comes last; it is not worth an error each.
        numbered = (tf.range(real), {name: values[:real] for name, values in batch.items()})
        decoded = tf.data.Dataset.from_tensor_slices(numbered).map(
            lambda row, fields: (row, decode(fields)), num_parallel_calls=options.decode_threads, deterministic=True
        )
        found = decoded.ignore_errors().concatenate(tf.data.Dataset.from_tensor_slices(last))
        found = found.batch(count + 1) if fixed else found.padded_batch(count + 1)
        return found.map(lambda row, example: (batch["index"], row, example))

    return rows.interleave(
        decodable, cycle_length=BATCHES_IN_FLIGHT, num_parallel_calls=BATCHES_IN_FLIGHT, deterministic=True
    )


def assemble_batch(index: tf.Tensor, row: tf.Tensor, example: Example, options: InputOptions) -> Batch:
    """The batch of N rows, from what ``readable_rows`` yields."""
    size, count = options.image_size, options.batch_size
    # place[r]: where row r went among those that were decoded; 0 if it is missing, which the status then says.
    place = tf.scatter_nd(row[:, tf.newaxis], tf.range(tf.shape(row)[0]), [count + 1])[:count]
    present = tf.scatter_nd(row[:, tf.newaxis], tf.ones_like(row), [count + 1])[:count] > 0
    valid = tf.gather(example.valid, place)
    status = tf.where(present, tf.where(valid, STATUS_OK, STATUS_BAD_LABEL), STATUS_UNDECODABLE)
    status = tf.where(tf.equal(index, PADDING_INDEX), STATUS_PADDING, status)
    good = tf.equal(status, STATUS_OK)
    zeros = tf.shape(row)[0] - 1

    images = tf.cond(
        tf.reduce_all(good),
        lambda: example.image[:count],
        lambda: tf.gather(example.image, _image_sources(good, place, zeros)),
    )
    images = tf.ensure_shape(images, [count, size, size, CHANNELS])
    source = tf.where(good, place, zeros)
    targets = {
        name: tf.ensure_shape(tf.gather(values, source), [count, *values.shape[1:]])
        for name, values in example.targets.items()
    }
    return Batch(images, targets, tf.ensure_shape(status, [count]), tf.ensure_shape(index, [count]))


def _image_sources(good: tf.Tensor, place: tf.Tensor, zeros: tf.Tensor) -> tf.Tensor:
    """For each row, which decoded image it shows: its own if it is good, else one of the good ones in turn."""
    good_places = tf.boolean_mask(place, good)
    good_count = tf.size(good_places)
    candidates = tf.concat([good_places, zeros[tf.newaxis]], axis=0)
    substitute = tf.gather(candidates, tf.range(tf.size(place)) % tf.maximum(good_count, 1))
    return tf.where(good, place, substitute)


def rows_of_shard(records: tf.data.Dataset, batch_size: int, shard: Shard) -> tf.data.Dataset:
    """Batches for one shard: of every ``batch_size * count`` records its own rows; an incomplete rest is dropped."""
    batches = records.batch(batch_size * shard.count, drop_remainder=True)
    if shard.count == 1:
        return batches
    first = shard.index * batch_size
    return batches.map(lambda rows: tf.nest.map_structure(lambda values: values[first : first + batch_size], rows))


def make_input(batches: tf.data.Dataset) -> Input:
    """Adds the iterator to the current graph, on the CPU, and measures how long each batch is waited for."""
    with tf.device("/CPU:0"), tf.name_scope("input"):
        iterator = make_iterator(batches)
        asked = _clock()
        with tf.control_dependencies([asked]):
            batch = iterator.get_next()
        with tf.control_dependencies(tf.nest.flatten(batch)):
            wait_seconds = tf.subtract(_clock(), asked, name="wait_seconds")
        with tf.control_dependencies([wait_seconds]):  # else one thread may compute first and read the clock then
            batch = tf.nest.map_structure(tf.identity, batch)
    return Input(batch=batch, initializer=iterator.initializer, wait_seconds=wait_seconds)


def make_iterator(dataset: tf.data.Dataset) -> Any:
    """The initializable iterator of a pipeline, run as all pipelines here are: in order, and with no autotuning."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False  # its thread sleeps for up to a minute, and closing a session waits for it (2.21)
    return tf.compat.v1.data.make_initializable_iterator(dataset.with_options(options))


def _clock() -> tf.Tensor:
    """Seconds, float64, read when the graph gets there; TensorFlow's own op refuses to run under determinism."""
    return tf.ensure_shape(tf.numpy_function(lambda: np.float64(time.perf_counter()), [], tf.float64), [])
