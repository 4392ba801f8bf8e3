"""The contract of every input, and the conversion of records to batches with a status for each row.

A row that cannot be read keeps its place in the batch and gets a status; it neither ends the run nor shifts the rows
after it. N is the batch size of one replica.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import tensorflow as tf

from utils.data_config import BUFFER
from utils.errors import require
from utils.image_processing import CHANNELS, View, decode_view
from utils.image_sizes import EVAL_CROP, ImageSize, sides_of
from utils.input.augmentation import ChangePixels, StepTable, pixel_change
from utils.input.augmentation_specs import AugmentationStep
from utils.input.balanced_order import Balance
from utils.weights.pretrained_config import Rgb

STATUS_OK = 0
STATUS_PADDING = 1
STATUS_UNDECODABLE = 2
STATUS_BAD_LABEL = 3

PADDING_INDEX = -1

# Batches in preparation at once: two keep the threads busy across the end of a batch, more only cost memory.
BATCHES_IN_FLIGHT = 2
PREFETCHED_BATCHES = 2

_Builder = TypeVar("_Builder", bound=Callable[..., Any])


class Batch(NamedTuple):
    """One batch of a replica; every input (TFRecords, DALI, synthetic) yields these.

    Attributes:
        images: ``[N, H, W, 3]`` float32, raw RGB in 0..255; the task's graph normalizes them, once.
        targets: The targets from the task's decoder, N rows each, such as ``{"labels": [N] int32}``; empty for images
            without targets. Tensors whose shapes vary between examples are padded with zeros to the largest in the
            batch.
        status: ``[N]`` int32. ``STATUS_OK``: a real example; ``STATUS_PADDING``: fills the last batch;
            ``STATUS_UNDECODABLE`` and ``STATUS_BAD_LABEL``: an example that must not count. A row that is not OK shows
            the image of another example of the batch (zeros if none is good), which keeps batch statistics realistic;
            its targets are zeros.
        index: ``[N]`` int64, index of the example in its split; -1 for padding.
    """

    images: tf.Tensor
    targets: dict[str, tf.Tensor]
    status: tf.Tensor
    index: tf.Tensor

    @property
    def mask(self) -> tf.Tensor:
        """``[N]`` float32, 1 for real examples and 0 for other rows."""
        return tf.cast(tf.equal(self.status, STATUS_OK), tf.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The part of the data for one of ``count`` replicas."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"shard {self.index} of {self.count}: the index must be at least 0 and below the count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A position in the training data: all shards together have consumed ``example`` examples of ``epoch``."""

    epoch: int = 0
    example: int = 0

    def __post_init__(self) -> None:
        if self.epoch < 0 or self.example < 0:
            raise ValueError(f"position at epoch {self.epoch}, example {self.example}: both must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A stream of batches inside a graph.

    Attributes:
        batch: The next batch each time it is fetched.
        initializer: Operation to run before the first batch.
        wait_seconds: Float64 scalar, the time that fetching this batch blocked.
        stage: In ``utils/input/staging.py``, the operation to run once before each batch is fetched.
    """

    batch: Batch
    initializer: tf.Operation
    wait_seconds: tf.Tensor
    stage: tf.Operation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """Options of an input.

    ``batch_size`` is per replica. ``augmentation`` lists the steps for training images in order. ``threads`` None means
    one per CPU of this process. ``shuffle`` is "buffer", where an example moves a few times ``shuffle_buffer`` places,
    or "index", where all orders of an epoch are equally likely. Evaluation reads every ``eval_every``-th example.
    ``scaled_decoding`` is ``scaled`` of ``decode_view``, and ``eval_crop`` the ``crop`` of ``eval_view``. An epoch of
    training has an example ``repeats`` times in a row. ``balance`` draws the training examples by class. ``border`` is
    the color around pictures that do not fill the input, which evaluation shows in their proportions; None if all do.
    """

    image_size: ImageSize
    batch_size: int
    num_classes: int
    label_offset: int
    seed: int
    augmentation: tuple[AugmentationStep, ...] = ()
    threads: int | None = None
    shuffle: str = BUFFER
    shuffle_buffer: int = 4096
    eval_every: int = 1
    scaled_decoding: bool = False
    balance: Balance | None = None
    eval_crop: float = EVAL_CROP
    repeats: int = 1
    border: Rgb | None = None

    def __post_init__(self) -> None:
        require(min(sides_of(self.image_size)) > 0, "image_size", self.image_size, "a positive integer")
        require(self.batch_size > 0, "batch_size", self.batch_size, "a positive integer")
        require(self.shuffle_buffer > 0, "shuffle_buffer", self.shuffle_buffer, "a positive integer")
        require(self.threads is None or self.threads > 0, "threads", self.threads, "a positive integer")

    @property
    def decode_threads(self) -> int:
        return self.threads if self.threads is not None else len(os.sched_getaffinity(0))


class Example(NamedTuple):
    """One decoded example: ``[H, W, 3]`` float32 image, the task's targets, and whether the targets are valid."""

    image: tf.Tensor
    targets: dict[str, tf.Tensor]
    valid: tf.Tensor


class UndecodedExample(NamedTuple):
    """An example before its image is decoded: the view to decode, and the rest as in ``Example``."""

    view: View
    targets: dict[str, tf.Tensor]
    valid: tf.Tensor


# Rows of one batch before decoding: a dict with "index" [N] int64 and the decoder's inputs, N rows each.
Rows = dict[str, Any]
Decoder = Callable[[Rows], Any]
TargetSpecs = dict[str, tf.TensorSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDecoder:
    """Converts records of one kind to examples.

    Attributes:
        parse_for_training: Function of a serialized record and an int64 [2] seed; it applies the geometric
            augmentation.
        parse_for_evaluation: Function of a serialized record.
        train_targets: Types of the targets of one training example.
        eval_targets: Types of the targets of one evaluation example.
        steps: The function of each augmentation step for records of this kind.
    """

    parse_for_training: Callable[[tf.Tensor, tf.Tensor, InputOptions], UndecodedExample]
    parse_for_evaluation: Callable[[tf.Tensor, InputOptions], UndecodedExample]
    train_targets: TargetSpecs
    eval_targets: TargetSpecs
    steps: StepTable

    def pixel_change(self, options: InputOptions) -> ChangePixels | None:
        """The photometric augmentation, a function of a training example's image and seed; None if there is none."""
        return pixel_change(options.augmentation, self.steps, options.border)

    def train(self, serialized: tf.Tensor, seed: tf.Tensor, options: InputOptions) -> Example:
        """A training example with its image decoded by TensorFlow."""
        view, targets, valid = self.parse_for_training(serialized, seed, options)
        image = decode_view(view, options.image_size, scaled=options.scaled_decoding, border=options.border)
        change = self.pixel_change(options)
        return Example(image if change is None else change(image, seed), targets, valid)

    def evaluate(self, serialized: tf.Tensor, options: InputOptions) -> Example:
        """An evaluation example with its image decoded by TensorFlow."""
        view, targets, valid = self.parse_for_evaluation(serialized, options)
        image = decode_view(view, options.image_size, scaled=options.scaled_decoding, border=options.border)
        return Example(image, targets, valid)


def without_autograph(build: _Builder) -> _Builder:
    """Decorates a function that builds an input: AutoGraph would search half a second for control flow of Python."""
    return cast("_Builder", tf.autograph.experimental.do_not_convert(build))


def decode_batches(
    rows: tf.data.Dataset, decode: Decoder, targets: TargetSpecs, options: InputOptions
) -> tf.data.Dataset:
    """Turns a dataset of batches of undecoded ``Rows`` into one of ``Batch`` tuples, in parallel and in order.

    ``targets`` are the types of one example's targets; dimensions of None are padded. ``decode`` returns an
    ``Example``.
    """
    image = tf.zeros([*sides_of(options.image_size), CHANNELS])
    blank = Example(image, blank_targets(targets), tf.constant(False))
    decoded = readable_rows(rows, decode, blank, targets, options)
    batches = decoded.map(lambda index, row, example: assemble_batch(index, row, example, options))
    return batches.prefetch(PREFETCHED_BATCHES)


def blank_targets(targets: TargetSpecs) -> dict[str, tf.Tensor]:
    """Zero targets for a row that could not be read."""
    return {name: tf.zeros([side or 0 for side in spec.shape], spec.dtype) for name, spec in targets.items()}


def readable_rows(
    rows: tf.data.Dataset, decode: Decoder, blank: Any, targets: TargetSpecs, options: InputOptions
) -> tf.data.Dataset:
    """Yields for each batch the index of all rows, then the numbers and decoded examples of the readable rows.

    After these comes ``blank`` with the row number N, so there is always at least one.

    The rows of a batch pass through an inner dataset that drops those whose decoding fails; the remaining row numbers
    tell which ones failed. One inner dataset per batch costs a few per cent of the decoding time; one per image would
    cost a third.

    Under ``TF_DETERMINISTIC_OPS``, TensorFlow removes parallelism and prefetching from a pipeline with a stateful op
    unknown to it. ``get_single_element``, ``from_tensors`` and ``shuffle`` create such ops, so none of them is used
    here.
    """
    count = options.batch_size
    fixed = all(spec.shape.is_fully_defined() for spec in targets.values())
    last = tf.nest.map_structure(lambda value: value[tf.newaxis], (tf.constant(count), blank))

    def decodable(batch: Rows) -> tf.data.Dataset:
        real = tf.reduce_sum(tf.cast(tf.not_equal(batch["index"], PADDING_INDEX), tf.int32))
        # Padding comes last; decoding it would only cost an error per row.
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
    """The batch of N rows from one element of ``readable_rows``; ``example.image`` may be references to images."""
    count = options.batch_size
    # place[r]: position of row r among the decoded rows; 0 if it is missing, as its status then says.
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
    images = tf.ensure_shape(images, [count, *example.image.shape[1:]])
    source = tf.where(good, place, zeros)
    targets = {
        name: tf.ensure_shape(tf.gather(values, source), [count, *values.shape[1:]])
        for name, values in example.targets.items()
    }
    return Batch(images, targets, tf.ensure_shape(status, [count]), tf.ensure_shape(index, [count]))


def _image_sources(good: tf.Tensor, place: tf.Tensor, zeros: tf.Tensor) -> tf.Tensor:
    """The decoded image that each row shows: its own if it is good, else one of the good ones in turn."""
    good_places = tf.boolean_mask(place, good)
    good_count = tf.size(good_places)
    candidates = tf.concat([good_places, zeros[tf.newaxis]], axis=0)
    substitute = tf.gather(candidates, tf.range(tf.size(place)) % tf.maximum(good_count, 1))
    return tf.where(good, place, substitute)


def make_input(batches: tf.data.Dataset) -> Input:
    """Adds the iterator to the current graph, on the CPU, and measures the wait for each batch."""
    with tf.device("/CPU:0"), tf.name_scope("input"):
        iterator = make_iterator(batches)
        asked = _clock()
        with tf.control_dependencies([asked]):
            batch = iterator.get_next()
        with tf.control_dependencies(tf.nest.flatten(batch)):
            wait_seconds = tf.subtract(_clock(), asked, name="wait_seconds")
        with tf.control_dependencies([wait_seconds]):  # otherwise a thread may compute before it reads the clock
            batch = tf.nest.map_structure(tf.identity, batch)
    return Input(batch=batch, initializer=iterator.initializer, wait_seconds=wait_seconds)


def make_iterator(dataset: tf.data.Dataset) -> Any:
    """The initializable iterator of a pipeline, with the options of all pipelines: in order and without autotuning."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False  # its thread sleeps up to a minute, and closing a session waits for it (2.21)
    return tf.compat.v1.data.make_initializable_iterator(dataset.with_options(options))


def _clock() -> tf.Tensor:
    """The time, float64 seconds, at which the graph evaluates it; TensorFlow's own op fails under determinism."""
    return tf.ensure_shape(tf.numpy_function(lambda: np.float64(time.perf_counter()), [], tf.float64), [])
