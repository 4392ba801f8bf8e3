"""Training and evaluation input with images decoded by NVIDIA DALI; the only module that imports DALI.

Batches hold the same examples, crops and flips as those of ``utils/data_utils.py``: the same code draws them with the
same random numbers. DALI decodes, crops, mirrors and resizes, so the two inputs differ only by the rounding of the
decoders. Resuming and sharding need no code of their own.

Several pipelines work on successive batches at once: one decodes while another receives its inputs or hands over its
images. A single pipeline that runs ahead of its outputs would fail with all batches in flight because of one bad image.

On a GPU, DALI decodes with nvJPEG and resizes on the device, and the images stay there: references to them pass through
tf.data, which tracks the status of every row. Images return to the host if their pixels are to change, which tf.data
does, if they get a border, or if DALI cannot decode one of a batch.
"""

from __future__ import annotations

import importlib
import math
import queue
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from utils.errors import UsageError
from utils.image_processing import CHANNELS, PNG_BEGIN, View, decode_full
from utils.image_sizes import sides_of
from utils.input.augmentation import ChangePixels
from utils.input.batching import (
    BATCHES_IN_FLIGHT,
    PREFETCHED_BATCHES,
    Example,
    Input,
    InputOptions,
    Position,
    RecordDecoder,
    Rows,
    Shard,
    TargetSpecs,
    UndecodedExample,
    assemble_batch,
    blank_targets,
    make_input,
    readable_rows,
)
from utils.input.device_images import REFERENCES, DeviceImages
from utils.input.indexed_records import indexed_eval_rows, indexed_train_rows
from utils.records.record_index import split_index
from utils.records.split_files import SplitFiles

FAILURE = "DALI failed"
"""Beginning of the message about a failure that no single image caused."""

_DECODER = "decoders.image"  # DALI's messages about images name the operator, and then the fault
_FAULT_BEGINS = "encountered:"
_NO_IMAGES_FAULT = re.compile(r"cudaError|CUDA_ERROR|bytes on device|cropping window")
_MESSAGE_LETTERS = 300
_ALIGNMENT_BYTES = 64  # of TensorFlow's buffers: it takes over an aligned array, and copies any other (2.21)

Array = NDArray[Any]


class DaliReader:
    """Reads splits with DALI; implements ``utils.data_utils.Reader``.

    Args:
        index_dir: Folder of index files; None writes missing ones.
        device_id: The GPU to decode on, as this process numbers them, or None for the CPU.
        network_device: TensorFlow's name of that GPU; None takes the images from the host's memory.

    Raises:
        UsageError: DALI is not installed, or cannot run here.
    """

    def __init__(self, index_dir: str | None, device_id: int | None = None, network_device: str | None = None) -> None:
        self._index_dir = index_dir
        self._device_id = device_id
        self._network_device = network_device
        _import("nvidia.dali")

    def train_input(
        self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard, start: Position
    ) -> Input:
        """The batches of ``data_utils.Reader``; each process reads its own records only.

        Raises:
            UsageError: The global batch is larger than the data set.
            RunError: The index does not belong to the files.
        """
        rows = indexed_train_rows(files, split_index(files, self._index_dir), options, shard, start)

        def parse(row: Rows) -> tuple[UndecodedExample, tf.Tensor]:
            return decoder.parse_for_training(row["serialized"], row["seed"], options), row["seed"]

        return self._input(rows, parse, decoder.pixel_change(options), decoder.train_targets, options)

    def eval_input(self, files: SplitFiles, decoder: RecordDecoder, options: InputOptions, shard: Shard) -> Input:
        """The batches of ``data_utils.Reader``.

        Raises:
            RunError: The index does not belong to the files.
        """
        rows = indexed_eval_rows(files, split_index(files, self._index_dir), options, shard)
        no_seed = tf.zeros([2], tf.int64)

        def parse(row: Rows) -> tuple[UndecodedExample, tf.Tensor]:
            return decoder.parse_for_evaluation(row["serialized"], options), no_seed

        return self._input(rows, parse, None, decoder.eval_targets, options)

    def _input(
        self,
        rows: tf.data.Dataset,
        parse: Callable[[Rows], tuple[UndecodedExample, tf.Tensor]],
        change: ChangePixels | None,
        targets: TargetSpecs,
        options: InputOptions,
    ) -> Input:
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
        on_device = None
        if self._network_device is not None and change is None and options.border is None:
            on_device = DeviceImages(self._network_device, options.image_size)
        engines = _Engines(options, self._device_id, on_device)
        examples = undecoded.map(
            lambda index, row, parsed: (index, *_decode_views(engines, row, *parsed)),
            num_parallel_calls=BATCHES_IN_FLIGHT,
            deterministic=True,
        )
        if change is not None:
            examples = _with_changed_pixels(examples, change, options)
        batches = examples.map(lambda index, row, example, seed: assemble_batch(index, row, example, options))
        if on_device is None:
            return make_input(batches.prefetch(PREFETCHED_BATCHES))
        data = make_input(batches)  # the batches in flight are enough ahead, and their images take the GPU's memory
        return replace(data, batch=data.batch._replace(images=on_device.take(data.batch.images)))


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
    images, readable = engine.decode(np.array([encoded, b""], object), window, np.zeros([2], np.bool_), resized, corner)
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
    made = tf.TensorSpec([None, *sides_of(engines.size), CHANNELS]) if engines.on_device is None else REFERENCES
    images, readable = tf.numpy_function(engines, [*undecoded.view], [made.dtype, tf.bool], stateful=False)
    images = tf.ensure_shape(images, made.shape)
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
    """Engines for as many calls at once as batches are in flight; each builds its pipeline when it is first needed.

    Attributes:
        size: Size of the images.
        on_device: Keeps the images on the device; None returns them.
    """

    def __init__(self, options: InputOptions, device_id: int | None, on_device: DeviceImages | None) -> None:
        self.size = options.image_size
        self.on_device = on_device
        self._idle: queue.LifoQueue[_Engine] = queue.LifoQueue()
        for _ in range(BATCHES_IN_FLIGHT):
            self._idle.put(_Engine(options, device_id))

    def __call__(self, *view: Array) -> tuple[Array, Array]:
        """Arguments and results of ``_Engine.decode``, but references if the images stay on the device."""
        engine = self._idle.get()
        try:
            if self.on_device is None:
                return engine.decode(*view)
            images, readable = engine.decode(*view, stay=True)
            return self.on_device.keep(images, len(readable) - 1), readable
        finally:
            self._idle.put(engine)


class _Engine:
    """A DALI pipeline from encoded images and the visible part of each to images of one size; for one call at a time.

    DALI fails a whole batch if it cannot decode one image; then the images are decoded one by one.
    """

    def __init__(self, options: InputOptions, device_id: int | None) -> None:
        self._sides = sides_of(options.image_size)
        self._border = options.border
        self._batch_size = options.batch_size
        self._threads = options.decode_threads
        self._device_id = device_id
        self._pipeline: Any = None

    def decode(
        self, encoded: Array, window: Array, mirrored: Array, resized: Array, corner: Array, *, stay: bool = False
    ) -> tuple[Any, Array]:
        """Decoded images and whether each could be decoded; M rows, the last one blank.

        Args:
            encoded: Encoded images; they and the next four are those of ``View``.
            window: Visible part of each.
            mirrored: Whether it is mirrored.
            resized: Its size when it is resized.
            corner: Corner of what is seen in it.
            stay: Leave the images of M - 1 rows where DALI made them, as one of its tensors, unless one cannot be
                decoded or there are none.

        Returns:
            ``[M, H, W, 3]`` float32, zeros where there is no image, and ``[M]`` boolean, true for the blank row.

        Raises:
            RuntimeError: DALI failed for a reason other than an image.
        """
        begin, end = _regions(self._sides, window, mirrored, resized, corner)
        starts, shapes = np.ascontiguousarray(window[:, :2]), np.ascontiguousarray(window[:, 2:])
        given = {"encoded": encoded, "start": starts, "shape": shapes, "begin": begin, "end": end}
        inputs = {name: values[:-1] for name, values in given.items()}
        batch = None if len(encoded) == 1 else self._run(inputs)
        if stay and batch is not None:
            return batch.as_tensor(), np.ones([len(encoded)], np.bool_)
        images, readable = self._filled(inputs, batch)
        if self._border is not None:
            begin, end = np.maximum(-corner, 0), resized - corner
            for image, (top, left), (bottom, right) in zip(images[:-1], begin, end, strict=False):
                image[:top] = image[bottom:] = image[:, :left] = image[:, right:] = self._border
        return images, readable

    def _filled(self, inputs: dict[str, Array], batch: Any) -> tuple[Array, Array]:
        """The results of ``decode`` from a batch of the pipeline; from single images if ``batch`` is None."""
        count = len(inputs["encoded"])
        images = aligned_images((count + 1, *self._sides, CHANNELS))
        images[count] = 0
        readable = np.ones([count + 1], np.bool_)
        if batch is not None:
            images[:count] = _on_host(batch)
            return images, readable
        for i in range(count):
            one = self._run({name: values[i : i + 1] for name, values in inputs.items()})
            readable[i] = one is not None
            images[i] = 0 if one is None else _on_host(one)[0]
        return images, readable

    def _run(self, inputs: dict[str, Array]) -> Any:
        """The decoded inputs, a list of DALI's tensors; None if one of them cannot be decoded."""
        try:
            if self._pipeline is None:
                self._pipeline = self._build()
            given = inputs | {"encoded": [np.frombuffer(data, np.uint8) for data in inputs["encoded"]]}
            (batch,) = self._pipeline.run(**given)
        except RuntimeError as error:
            self._pipeline = None  # DALI declares it invalid after an error
            if not _is_about_an_image(str(error)):
                raise RuntimeError(f"{FAILURE}: {' '.join(str(error).split())[-_MESSAGE_LETTERS:]}") from error
            return None
        return batch

    def _build(self) -> Any:
        dali, fn, types = (_import(f"nvidia.dali{part}") for part in ("", ".fn", ".types"))
        pipeline = dali.Pipeline(
            self._batch_size,
            self._threads,
            self._device_id,
            prefetch_queue_depth=1,  # another engine works on the next batch
            exec_dynamic=True,  # the outputs stay as they are when the pipeline runs again
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
                size=[*self._sides],
                roi_start=begin,
                roi_end=end,
                interp_type=types.INTERP_LINEAR,
                antialias=False,
                dtype=types.FLOAT,
            )
            pipeline.set_outputs(square)
        pipeline.build()
        return pipeline


def _is_about_an_image(message: str) -> bool:
    """Returns whether DALI could not decode an image; the decoder also fails for want of memory on the GPU."""
    where, _, fault = message.partition(_FAULT_BEGINS)
    return _DECODER in where and not _NO_IMAGES_FAULT.search(fault)


def _on_host(batch: Any) -> Array:
    """The images of a batch of one of DALI's pipelines."""
    return np.asarray(batch.as_cpu().as_tensor())


def aligned_images(shape: tuple[int, ...]) -> Array:
    """An array of float32 without values that TensorFlow takes over without copying it."""
    count = math.prod(shape) * np.dtype(np.float32).itemsize
    memory = np.empty(count + _ALIGNMENT_BYTES, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT_BYTES
    return memory[start : start + count].view(np.float32).reshape(shape)


def _regions(
    sides: tuple[int, int], window: Array, mirrored: Array, resized: Array, corner: Array
) -> tuple[Array, Array]:
    """Begin and end of the image in each window, ``[M, 2]`` float32 ``[y, x]``, that align DALI's grid with ours.

    DALI's output pixel i lies at ``begin + (i + 1/2) (end - begin) / size - 1/2``, counted in pixel centers, ours at
    ``(corner + i) scale`` with ``scale = window / resized``. A region that ends before it begins is mirrored, and one
    that reaches out of the window repeats its edge.
    """
    width = window[:, 2:].astype(np.float32)
    scale = width / resized.astype(np.float32)
    begin = (corner.astype(np.float32) - np.float32(0.5)) * scale + np.float32(0.5)
    end = begin + np.array(sides, np.float32) * scale
    turned = mirrored[:, np.newaxis] & np.array([False, True])
    return np.where(turned, width - begin, begin), np.where(turned, width - end, end)
