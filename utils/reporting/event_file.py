"""TensorBoard event files: scalars, summaries from a graph, pictures and graphs."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from PIL import Image

from utils.errors import reason

tf1 = tf.compat.v1
LARGEST_CONSTANT_BYTES = 1024
JPEG_QUALITY = 85
EVENT_FILES = "events.out.tfevents.*"
EVALUATIONS = "eval"
"""The subfolder for the curves of evaluations."""


class EventFile:
    """An event file in a folder. If it cannot be written, one warning is logged and the run continues."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._attempt(lambda: setattr(self, "_writer", _writer(folder)))

    def add_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds one point to each scalar's curve."""
        values = [tf1.Summary.Value(tag=tag, simple_value=float(value)) for tag, value in scalars.items()]
        self.add_summary(step, tf1.Summary(value=values))

    def add_pictures(self, step: int, pictures: Mapping[str, Image.Image]) -> None:
        """Adds a picture under each tag, as JPEG."""
        values = [tf1.Summary.Value(tag=tag, image=_encoded(picture)) for tag, picture in pictures.items()]
        if values:
            self.add_summary(step, tf1.Summary(value=values))

    def add_summary(self, step: int, summary: Any) -> None:
        """Adds a ``Summary``, as a message or serialized."""
        if self._writer is not None:
            self._attempt(lambda: self._writer.add_summary(summary, step))

    def add_graph(self, graph: Any) -> None:
        """Adds a ``tf.Graph`` with tensor shapes, but without the values of large constants."""
        if self._writer is not None:
            self._attempt(lambda: self._writer.add_event(_graph_event(graph)))

    def flush(self) -> None:
        if self._writer is not None:
            self._attempt(lambda: self._writer.flush())

    def close(self) -> None:
        if self._writer is not None:
            self._attempt(lambda: self._writer.close())

    def _attempt(self, act: Callable[[], object]) -> None:
        try:
            act()
        except (OSError, RuntimeError, tf.errors.OpError) as error:  # the writer's thread raises RuntimeError
            self._writer = None
            logging.getLogger(__name__).warning(
                "%s: events for TensorBoard cannot be written (%s); continuing without", self._folder, reason(error)
            )


def write_event(
    folder: Path, step: int, values: Mapping[str, Any], pictures: Mapping[str, Image.Image] | None = None
) -> None:
    """Adds one point to the curve of each value that is a number, and pictures by tag, in a new file of the folder."""
    events = EventFile(folder)
    events.add_scalars(step, {tag: value for tag, value in values.items() if isinstance(value, int | float)})
    events.add_pictures(step, pictures or {})
    events.close()


def has_events(folder: Path) -> bool:
    """Returns whether a folder contains an event file."""
    return any(folder.glob(EVENT_FILES))


def _writer(folder: Path) -> Any:
    with tf.Graph().as_default():  # the class works only in graph mode
        return tf1.summary.FileWriter(str(folder))


def _encoded(picture: Image.Image) -> Any:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)  # letters on colors stay legible
    width, height = picture.size
    return tf1.Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=buffer.getvalue())


def _graph_event(graph: Any) -> Any:
    definition = graph.as_graph_def(add_shapes=True)
    functions = (node for function in definition.library.function for node in function.node_def)
    for node in (*definition.node, *functions):
        if node.op == "Const":
            _empty(node.attr["value"].tensor)
    return tf1.Event(graph_def=definition.SerializeToString(), wall_time=time.time())


def _empty(tensor: Any) -> None:
    """Removes the values of a large constant; keeps its type and shape."""
    if tensor.ByteSize() > LARGEST_CONSTANT_BYTES:
        kind, shape = tensor.dtype, tensor.tensor_shape
        tensor.CopyFrom(type(tensor)(dtype=kind, tensor_shape=shape))
