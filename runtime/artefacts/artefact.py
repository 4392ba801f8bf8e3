"""Opened artefacts, and the parts of a task that they replace.

Shape symbols: N batch, H W image.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.task import PostProcessing, Task, TensorMap
from utils.errors import RunError, UsageError
from utils.image_sizes import ImageSize, size_of_sides
from utils.weights.description import parse_description

tf1 = tf.compat.v1

INPUT = "input"
"""Name of the input in every format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """An exported network from raw images to outputs, in the format of some runtime.

    Attributes:
        path: File or folder.
        runtime: Name and version of the runtime.
        precision: Compute type.
        metadata: Description of the weights, as beside a checkpoint.
        input_shape: [N, H, W, 3] or [N, 3, H, W]; N is None if it takes any number of images.
        outputs: Shapes (with None for N) and types by name.
        forward: Function that adds the outputs for raw images [N, H, W, 3] in 0..255 to the current graph.
        in_bfloat16: Function that returns the same network, computing in bfloat16; None if the runtime cannot.

    Raises:
        RunError: The input does not have four dimensions.
    """

    path: Path
    runtime: str
    precision: str
    metadata: Mapping[str, Any]
    input_shape: Sequence[int | None]
    outputs: Mapping[str, tf.TensorSpec]
    forward: Callable[[Any], TensorMap]
    in_bfloat16: Callable[[], Artefact] | None = None

    def __post_init__(self) -> None:
        if len(self.input_shape) != 4:
            raise RunError(f"{self.path}: takes an input of shape {list(self.input_shape)}; must take images")

    @property
    def batch_size(self) -> int | None:
        """The number of images in a batch, or None for any."""
        return self.input_shape[0]

    @property
    def image_size(self) -> ImageSize | None:
        """The size of the images, or None for any."""
        first = 2 if _channels_first(self.input_shape) else 1
        height, width = self.input_shape[first : first + 2]
        return None if height is None or width is None else size_of_sides(height, width)

    def check(self, batch_size: int, image_size: ImageSize | None) -> None:
        """Checks that the requested sizes and the metadata fit the artefact.

        Raises:
            UsageError: The batch size or the image size differs.
            RunError: The metadata describe another network.
        """
        if self.batch_size not in (None, batch_size):
            raise UsageError(
                f"--batch_size {batch_size}: {self.path} was exported for batches of {self.batch_size}; give that, or "
                "export it without --batch_size"
            )
        if image_size is not None and self.image_size not in (None, image_size):
            raise UsageError(f"--image_size {image_size}: {self.path} takes images of {self.image_size} pixels")
        claimed = self.metadata.get("num_classes")
        for name in ("logits", "probabilities"):
            has = self.outputs[name].shape[-1] if name in self.outputs else None
            if None not in (has, claimed) and has != claimed:
                raise RunError(
                    f"{self.path}: has {has} classes, but its metadata say {claimed}; the parts do not belong together"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactNetwork:
    """An artefact as the network of a task.

    Attributes:
        artefact: The exported network, which includes normalization.
        ends: Outputs that are endpoints; None for all.
    """

    artefact: Artefact
    ends: Sequence[str] | None

    def normalize(self, images: Any) -> Any:
        return images

    def forward(self, images: Any, *, training: bool) -> TensorMap:
        if training:
            raise ValueError("an artefact cannot be trained")
        found = self.artefact.forward(images)
        return found if self.ends is None else {name: found[name] for name in self.ends}

    def stored_names(self, stored: Mapping[str, Sequence[int]]) -> Mapping[str, str]:
        """An empty mapping: an artefact has no variables."""
        return {}

    def by_zero_point(self) -> ArtefactNetwork:
        """The artefact itself, which computes as it was exported."""
        return self

    def portable(self) -> ArtefactNetwork:
        return self


@dataclass(frozen=True, slots=True)
class FinishedPredictions:
    """The post-processing of a network that ends in predictions.

    Attributes:
        whole: The post-processing of the task.
    """

    whole: PostProcessing
    is_costly: bool = False

    def portable(self) -> FinishedPredictions:
        return self

    @property
    def ends(self) -> Sequence[str]:
        return self.whole.ends

    @property
    def prediction_names(self) -> Sequence[str]:
        return self.whole.prediction_names

    def predictions(self, endpoints: TensorMap) -> TensorMap:
        return {name: endpoints[name] for name in self.prediction_names}

    def in_pictures(self, predictions: TensorMap, sizes: Any) -> TensorMap:
        return self.whole.in_pictures(predictions, sizes)

    def outputs(self, endpoints: TensorMap, targets: TensorMap) -> TensorMap:
        return self.whole.outputs_of(endpoints, targets)

    def outputs_of(self, predictions: TensorMap, targets: TensorMap) -> TensorMap:
        return self.whole.outputs_of(predictions, targets)

    def class_names_of(self, predictions: TensorMap) -> Any:
        return self.whole.class_names_of(predictions)


def run_by(task: Task, artefact: Artefact) -> Task:
    """The task with its network replaced by an artefact, and its post-processing too if the artefact includes that.

    Raises:
        RunError: The artefact outputs neither predictions nor the endpoints that they are computed from.
    """
    last, given = task.post_processing, set(artefact.outputs)
    if given >= set(last.prediction_names):
        network = ArtefactNetwork(artefact=artefact, ends=None)
        return dataclasses.replace(task, network=network, post_processing=FinishedPredictions(last))
    if not given >= set(last.ends):
        raise RunError(
            f"{artefact.path}: outputs {', '.join(artefact.outputs)}; must output {', '.join(last.ends)} or "
            f"{', '.join(last.prediction_names)}"
        )
    return dataclasses.replace(task, network=ArtefactNetwork(artefact=artefact, ends=last.ends))


@contextlib.contextmanager
def without_advice_to_migrate() -> Iterator[None]:
    """Silences TensorFlow's advice to migrate to version 2 for the duration of the block (2.21).

    The functions that export and load graphs are marked as deprecated but have no public successor. tf2onnx logs each
    operation that it folds; errors about operations that it cannot write come from checks of our own.
    """
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def in_the_layout_of(shape: Sequence[int | None], images: Any) -> Any:
    """Images [N, H, W, 3] in the layout of an input shape, which may be [N, 3, H, W]."""
    return tf.transpose(images, [0, 3, 1, 2]) if _channels_first(shape) else images


def _channels_first(shape: Sequence[int | None]) -> bool:
    return shape[1] == 3 and shape[3] != 3


def called_outside(
    call: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    input_shape: Sequence[int | None],
    outputs: Mapping[str, tf.TensorSpec],
) -> Callable[[Any], TensorMap]:
    """``Artefact.forward`` for a runtime other than TensorFlow: calls it from the graph, on the CPU.

    Args:
        call: Function from images in the artefact's layout to arrays by name.
        input_shape: As in ``Artefact``.
        outputs: As in ``Artefact``.
    """
    types = [spec.dtype for spec in outputs.values()]

    def run(images: np.ndarray) -> list[np.ndarray]:
        found = call(np.ascontiguousarray(images, np.float32))
        return [np.asarray(found[name], spec.dtype.as_numpy_dtype) for name, spec in outputs.items()]

    def forward(images: Any) -> TensorMap:
        with tf.device("/CPU:0"):
            found = tf.numpy_function(run, [in_the_layout_of(input_shape, images)], types)
        return {
            name: tf.ensure_shape(value, [images.shape[0], *spec.shape[1:]])
            for (name, spec), value in zip(outputs.items(), found, strict=True)
        }

    return forward


def read_beside(path: Path) -> dict[str, Any]:
    """The metadata in a separate file.

    Raises:
        RunError: The file cannot be read or is invalid.
    """
    try:
        return parse_description(path.read_bytes(), path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}; it describes the weights of the artefact") from error
