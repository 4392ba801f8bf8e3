"""Training and evaluation input with images decoded by NVIDIA DALI; the only module that imports DALI.

Batches hold the same examples, crops and flips as those of ``utils/data_utils.py``: the same code draws them with the
same random numbers. DALI decodes, crops, mirrors and resizes, so the two inputs differ only by the rounding of the
decoders. Resuming and sharding need no code of their own.

Several pipelines work on successive batches at once: one decodes while another receives its inputs or hands over its
images. A single pipeline that runs ahead of its outputs would fail with all batches in flight because of one bad image.

On a GPU, DALI decodes with nvJPEG and resizes on the device. The batch returns to the host because it continues through
tf.data, which tracks the status of every row.
"""

from __future__ import annotations

import importlib
import math
import queue
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from utils.errors import UsageError
from utils.image_processing import CHANNELS, PNG_BEGIN, View, decode_full
from utils.input.augmentation import ChangePixels
from utils.input.batching import (
    BATCHES_IN_FLIGHT,
    PREFETCHED_BATCHES,
    Example,
    InputOptions,
    Position,
    RecordDecoder,
    Rows,
    Shard,
    TargetSpecs,
    UndecodedExample,
    assemble_batch,
    blank_targets,
    readable_rows,
)
from utils.input.indexed_records import indexed_eval_rows, indexed_train_rows
from utils.records.manifest import SplitFiles
from utils.records.record_index import split_index

FAILURE = "DALI failed"
"""Beginning of the message about a failure that no single image caused."""

_DECODER = "decoders.image"  # DALI's messages about images name the operator
_MESSAGE_LETTERS = 300
_ALIGNMENT_BYTES = 64  # of TensorFlow's buffers: it takes over an aligned array, and copies any other (2.21)

Array = NDArray[Any]


class DaliReader:
    """Reads splits with DALI; implements ``utils.data_utils.Reader``.

    Args:
        index_dir: Folder of index files; None writes missing ones.
        device_id: The GPU to decode on, as this process numbers them, or None for the CPU.

    Raises:
        UsageError: DALI is not installed, or cannot run here.
    """

    def __init__(self, index_dir: str | None, device_id: int | None) -> None:
        self._index_dir = index_dir
        self._device_id = device_id
        _import("nvidia.dali")

    def train_batches(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard, start: Position
    ) -> tf.data.Dataset:
        """The batches of ``data_utils.train_batches``; each process reads its own records only.

        Raises:
            UsageError: The global batch is larger than the data set.
            RunError: The index does not belong to the files.
        """
        rows = indexed_train_rows(files, split_index(files, self._index_dir), options, shard, start)

        def parse(row: Rows) -> tuple[UndecodedExample, tf.Tensor]:
            return decoder.parse_for_training(row["serialized"], row["seed"], options), row["seed"]

        return self._batches(rows, parse, decoder.pixel_change(options), decoder.train_targets, options)

    def eval_batches(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard
    ) -> tf.data.Dataset:
        """The batches of ``data_utils.eval_batches``.

        Raises:
            RunError: The index does not belong to the files.
        """
        rows = indexed_eval_rows(files, split_index(files, self._index_dir), options, shard)
        no_seed = tf.zeros([2], tf.int64)

        def parse(row: Rows) -> tuple[UndecodedExample, tf.Tensor]:
            return decoder.parse_for_evaluation(row["serialized"], options), no_seed

        return self._batches(rows, parse, None, decoder.eval_targets, options)

    def _batches(
        self,
        rows: tf.data.Dataset,
        parse: Callable[[Rows], tuple[UndecodedExample, tf.Tensor]],
        change: ChangePixels | None,
        targets: TargetSpecs,
        options: InputOptions,
    ) -> tf.data.Dataset:
        """Batches of the rows that ``parse`` returns; ``change`` alters the decoded images."""

        def parse_known_format(row: Rows) -> tuple[UndecodedExample, tf.Tensor]:
            example, seed = parse(row)
            view = example.view._replace(encoded=_in_a_known_format(example.view.encoded))
            return example._replace(view=view), seed

        view = View(
            tf.constant(""), tf.constant([0, 0, 1, 1]), tf.constant(False), tf.constant([1, 1]), tf.zeros([2], tf.int32)
        )
        blank = (UndecodedExample(view, blank_targets(targets), tf.constant(False)), tf.zeros([2], tf.int64))
        undecoded = readable_rows(rows, parse_known_format, blank, targets, options)
        engines = _Engines(options, self._device_id)
        examples = undecoded.map(
            lambda index, row, parsed: (index, *_decode_views(engines, row, *parsed)),
            num_parallel_calls=BATCHES_IN_FLIGHT,
            deterministic=True,
        )
        if change is not None:
            examples = _with_changed_pixels(examples, change, options)
        batches = examples.map(lambda index, row, example, seed: assemble_batch(index, row, example, options))
        return batches.prefetch(PREFETCHED_BATCHES)


def decode_corner(encoded: bytes, side: int, size: int) -> Array:
    """Decodes the upper left square of an image on the CPU as a trial of DALI: ``[size, size, 3]`` float32.

    Raises:
        UsageError: DALI is not installed, or cannot run here.
        RuntimeError: DALI failed, or cannot decode the image.
    """
    engine = _Engine(
        InputOptions(image_size=size, batch_size=1, num_classes=1, label_offset=0, seed=0, threads=1), None
    )
    window, resized, corner = (np.array([row, row], np.int32) for row in ([0, 0, side, side], [size] * 2, [0, 0]))
    images, readable = engine(np.array([encoded, b""], object), window, np.zeros([2], np.bool_), resized, corner)
    if not readable[0]:
        raise RuntimeError("DALI cannot decode the image")
    image: Array = images[0]
    return image


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise UsageError(
            f"--dali: NVIDIA DALI cannot be imported ({error}); `pip install -r requirements/dali.txt` installs it, "
            "or leave out the flag to read the data with TensorFlow"
        ) from error


def _in_a_known_format(encoded: tf.Tensor) -> tf.Tensor:
    """JPEG and PNG unchanged; any other format as PNG, since DALI may not decode all that TensorFlow does."""
    known = tf.io.is_jpeg(encoded) | tf.equal(tf.strings.substr(encoded, 0, len(PNG_BEGIN)), PNG_BEGIN)
    return tf.cond(known, lambda: encoded, lambda: tf.io.encode_png(decode_full(encoded), compression=0))


def _decode_views(
    engines: _Engines, row: tf.Tensor, undecoded: UndecodedExample, seed: tf.Tensor
) -> tuple[tf.Tensor, Example, tf.Tensor]:
    """The rows that DALI could decode, as examples; arguments and results have at most N + 1 rows."""
    images, readable = tf.numpy_function(engines, [*undecoded.view], [tf.float32, tf.bool], stateful=False)
    images = tf.ensure_shape(images, [None, engines.size, engines.size, CHANNELS])
    readable = tf.ensure_shape(readable, [None])
    whole = (row, Example(images, undecoded.targets, undecoded.valid), seed)

    def readable_alone() -> Any:
        return tf.nest.map_structure(lambda values: tf.boolean_mask(values, readable), whole)

    decoded: tuple[tf.Tensor, Example, tf.Tensor] = tf.cond(tf.reduce_all(readable), lambda: whole, readable_alone)
    return decoded


def _with_changed_pixels(examples: tf.data.Dataset, change: ChangePixels, options: InputOptions) -> tf.data.Dataset:
    """The same examples with ``change`` applied to each image and its seed."""

    def of_batch(index: tf.Tensor, row: tf.Tensor, example: Example, seed: tf.Tensor) -> tf.data.Dataset:
        images = tf.data.Dataset.from_tensor_slices((example.image, seed)).map(
            change, num_parallel_calls=options.decode_threads, deterministic=True
        )
        images = images.batch(options.batch_size + 1)
        return images.map(lambda image: (index, row, example._replace(image=image), seed))

    return examples.interleave(
        of_batch, cycle_length=BATCHES_IN_FLIGHT, num_parallel_calls=BATCHES_IN_FLIGHT, deterministic=True
    )


class _Engines:
    """Engines for as many calls at once as batches are in flight; each builds its pipeline when it is first needed."""

    def __init__(self, options: InputOptions, device_id: int | None) -> None:
        self.size = options.image_size
        self._idle: queue.LifoQueue[_Engine] = queue.LifoQueue()
        for _ in range(BATCHES_IN_FLIGHT):
            self._idle.put(_Engine(options, device_id))

    def __call__(self, *view: Array) -> tuple[Array, Array]:
        """Arguments and results of ``_Engine.__call__``."""
        engine = self._idle.get()
        try:
            return engine(*view)
        finally:
            self._idle.put(engine)


class _Engine:
    """A DALI pipeline from encoded images and the visible part of each to squares of one size; for one call at a time.

    DALI fails a whole batch if it cannot decode one image; then the images are decoded one by one.
    """

    def __init__(self, options: InputOptions, device_id: int | None) -> None:
        self._size = options.image_size
        self._batch_size = options.batch_size
        self._threads = options.decode_threads
        self._device_id = device_id
        self._pipeline: Any = None

    def __call__(
        self, encoded: Array, window: Array, mirrored: Array, resized: Array, corner: Array
    ) -> tuple[Array, Array]:
        """Decoded images and whether each could be decoded; arguments as in ``View``, M rows, the last one blank.

        Returns:
            ``[M, S, S, 3]`` float32, zeros where there is no image, and ``[M]`` boolean, true for the blank row.

        Raises:
            RuntimeError: DALI failed for a reason other than an image.
        """
        count = len(encoded) - 1
        images = _aligned((count + 1, self._size, self._size, CHANNELS))
        images[count] = 0
        readable = np.ones([count + 1], np.bool_)
        if count == 0:
            return images, readable
        begin, end = _regions(self._size, window, mirrored, resized, corner)
        inputs = (encoded, np.ascontiguousarray(window[:, :2]), np.ascontiguousarray(window[:, 2:]), begin, end)
        if not self._fill(images[:count], [values[:count] for values in inputs]):
            for i in range(count):
                readable[i] = self._fill(images[i : i + 1], [values[i : i + 1] for values in inputs])
        return images, readable

    def _fill(self, images: Array, inputs: list[Array]) -> bool:
        """Writes the decoded inputs to ``images``; returns whether all of them could be decoded."""
        encoded, *geometry = inputs
        try:
            if self._pipeline is None:
                self._pipeline = self._build()
            names = ("start", "shape", "begin", "end")
            (batch,) = self._pipeline.run(
                encoded=[np.frombuffer(data, np.uint8) for data in encoded], **dict(zip(names, geometry, strict=True))
            )
            images[:] = np.asarray((batch if self._device_id is None else batch.as_cpu()).as_tensor())
        except RuntimeError as error:
            self._pipeline = None  # DALI declares it invalid after an error
            if _DECODER not in str(error):
                raise RuntimeError(f"{FAILURE}: {' '.join(str(error).split())[-_MESSAGE_LETTERS:]}") from error
            images[:] = 0
            return False
        return True

    def _build(self) -> Any:
        dali, fn, types = (_import(f"nvidia.dali{part}") for part in ("", ".fn", ".types"))
        pipeline = dali.Pipeline(
            self._batch_size,
            self._threads,
            self._device_id,
            prefetch_queue_depth=1,  # another engine works on the next batch
            exec_async=False,
            exec_pipelined=False,
        )
        with pipeline:
            encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
            start, shape = (fn.external_source(name=name, dtype=types.INT32, ndim=1) for name in ("start", "shape"))
            begin, end = (fn.external_source(name=name, dtype=types.FLOAT, ndim=1) for name in ("begin", "end"))
            window = fn.decoders.image_slice(
                encoded,
                start=start,
                shape=shape,
                axes=[0, 1],
                device="cpu" if self._device_id is None else "mixed",
                output_type=types.RGB,
                adjust_orientation=False,
                jpeg_fancy_upsampling=False,
                use_fast_idct=True,  # with the line above, the settings of TensorFlow's decoder
            )
            square = fn.resize(
                window,
                size=[self._size, self._size],
                roi_start=begin,
                roi_end=end,
                interp_type=types.INTERP_LINEAR,
                antialias=False,
                dtype=types.FLOAT,
            )
            pipeline.set_outputs(square)
        pipeline.build()
        return pipeline


def _aligned(shape: tuple[int, ...]) -> Array:
    """An array of float32 without values that TensorFlow takes over without copying it."""
    count = math.prod(shape) * np.dtype(np.float32).itemsize
    memory = np.empty(count + _ALIGNMENT_BYTES, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT_BYTES
    return memory[start : start + count].view(np.float32).reshape(shape)


def _regions(size: int, window: Array, mirrored: Array, resized: Array, corner: Array) -> tuple[Array, Array]:
    """Begin and end of the square in each window, ``[M, 2]`` float32 ``[y, x]``, that align DALI's grid with ours.

    DALI's output pixel i lies at ``begin + (i + 1/2) (end - begin) / size - 1/2``, counted in pixel centers, ours at
    ``(corner + i) scale`` with ``scale = window / resized``. A region that ends before it begins is mirrored.
    """
    width = window[:, 2:].astype(np.float32)
    scale = width / resized.astype(np.float32)
    begin = (corner.astype(np.float32) - np.float32(0.5)) * scale + np.float32(0.5)
    end = begin + np.float32(size) * scale
    turned = mirrored[:, np.newaxis] & np.array([False, True])
    return np.where(turned, width - begin, begin), np.where(turned, width - end, end)
