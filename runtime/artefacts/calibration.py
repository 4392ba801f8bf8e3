"""The images that set the ranges of int8."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from runtime.artefacts.artefact import in_the_layout_of
from runtime.task import Setup
from utils.batching import STATUS_OK, Position, Shard
from utils.errors import RunError
from utils.manifest import load_split

tf1 = tf.compat.v1


def calibration_split(data_dir: Path) -> str:
    """The training split where there is one, so that nothing is judged by the images that it was fitted to."""
    try:
        load_split(data_dir, "train")
    except RunError:
        return "validation"
    return "train"


def calibration_images(setup: Setup, count: int) -> np.ndarray:
    """Up to ``count`` images, raw, as evaluation sees them: [n, S, S, 3].

    Raises:
        RunError: None can be read.
    """
    found: list[np.ndarray] = []
    with tf.Graph().as_default(), tf1.Session(config=setup.session_config) as session:
        data = setup.task.input("validation", Shard(), Position())
        session.run(data.initializer)
        while len(found) < count:
            try:
                images, status = session.run([data.batch.images, data.batch.status])
            except tf.errors.OutOfRangeError:
                break
            found += list(images[status == STATUS_OK])
    if not found:
        raise RunError("--data_dir: no image could be read to set the ranges of int8 (--format tflite_int8)")
    return np.stack(found[:count])


def batches(images: np.ndarray, batch: int, shape: Iterable[int | None]) -> Iterable[np.ndarray]:
    """Whole batches in the layout of an input's shape."""
    ordered = in_the_layout_of(tuple(shape), images)
    for first in range(0, len(images) - batch + 1, batch):
        yield np.asarray(ordered[first : first + batch], np.float32)
