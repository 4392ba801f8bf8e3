"""An artefact that was opened, and the task that runs it in the network's place.

Shape symbols: N batch, S side of the image in pixels.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.task import Task, TensorMap
from utils.errors import RunError, UsageError
from utils.weights.description import parse_description

tf1 = tf.compat.v1

INPUT = "input"
"""Name of the input in every format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A network from raw images to outputs, in the format of some runtime.

    Attributes:
        path: File or folder.
        runtime: Name and version of what runs it.
        precision: Type that it computes in.
        metadata: What must be known of its weights to use them, as beside a checkpoint.
        input_shape: [N, S, S, 3], or [N, 3, S, S]; None where it takes any number of images.
        outputs: Shapes, with None for N, and types by name.
        forward: Adds the outputs for raw images [N, S, S, 3] in 0..255 to the current graph.

    Raises:
        RunError: The input has another number of dimensions.
    """

    path: Path
    runtime: str
    precision: str
    metadata: Mapping[str, Any]
    input_shape: Sequence[int | None]
    outputs: Mapping[str, tf.TensorSpec]
    forward: Callable[[Any], TensorMap]

    def __post_init__(self) -> None:
        if len(self.input_shape) != 4:
            raise RunError(f"{self.path}: takes an input of shape {list(self.input_shape)}, and no images")

    @property
    def batch_size(self) -> int | None:
        """The number of images that it takes, or None for any."""
        return self.input_shape[0]

    @property
    def image_size(self) -> int | None:
        return self.input_shape[2]

    def check(self, batch_size: int, image_size: int | None) -> None:
        """Refuses sizes that were asked for and are not the artefact's.

        Raises:
            UsageError: Another batch or another image.
            RunError: It is of another network than its metadata say.
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
                    f"{self.path}: has {has} classes, and its metadata {claimed}; it was put together wrongly"
                )


class ArtefactTask:
    """A task whose network is an artefact: input, metrics and presentation are the task's own.

    Args:
        task: What the artefact was exported from, or would be.
        artefact: Runs in the network's place; normalization is inside.
    """

    def __init__(self, task: Task, artefact: Artefact) -> None:
        self._task = task
        self._artefact = artefact
        self._ends_in_predictions = set(task.prediction_names) <= set(artefact.outputs)
        if not self._ends_in_predictions and not set(task.ends) <= set(artefact.outputs):
            raise RunError(
                f"{artefact.path}: gives {', '.join(artefact.outputs)}, and needed are {', '.join(task.ends)} or "
                f"{', '.join(task.prediction_names)}"
            )
        self.heads: Sequence[str] = () if self._ends_in_predictions else task.heads

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def normalize(self, images: Any) -> Any:
        """The artefact does."""
        return images

    def forward(self, images: Any, *, training: bool) -> TensorMap:
        """What the artefact gives, and what the task computes from it where it ends early."""
        if training:
            raise ValueError("an artefact does not train")
        found = self._artefact.forward(images)
        return found if self._ends_in_predictions else self._task.endpoints_of(found)

    def outputs(self, endpoints: TensorMap, targets: TensorMap) -> TensorMap:
        if self._ends_in_predictions:
            return self._task.outputs_of(endpoints, targets)
        return self._task.outputs(endpoints, targets)

    def predictions(self, endpoints: TensorMap) -> TensorMap:
        if self._ends_in_predictions:
            return {name: endpoints[name] for name in self._task.prediction_names}
        return self._task.predictions(endpoints)


@contextlib.contextmanager
def without_advice_to_migrate() -> Iterator[None]:
    """Keeps TensorFlow from advising, for the block, to write programs of its second version (2.21).

    What graphs are exported and loaded by is marked as outdated, and has no other public name. tf2onnx tells of each
    operation that it folds; what it cannot write it is asked for.
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
    """Images [N, S, S, 3] as an input of this shape wants them, which may be [N, 3, S, S]."""
    return tf.transpose(images, [0, 3, 1, 2]) if shape[1] == 3 and shape[3] != 3 else images


def called_outside(
    call: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    input_shape: Sequence[int | None],
    outputs: Mapping[str, tf.TensorSpec],
) -> Callable[[Any], TensorMap]:
    """``Artefact.forward`` of a runtime other than TensorFlow: a call from within the graph, on the CPU.

    Args:
        call: From images in the artefact's layout to arrays by name.
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
    """The metadata in a file of their own.

    Raises:
        RunError: There are none, or they say what cannot be.
    """
    try:
        return parse_description(path.read_bytes(), path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}; it says what the artefact's weights mean") from error
