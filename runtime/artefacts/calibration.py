"""The calibration set, which determines the quantization ranges of int8."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from runtime.artefacts.artefact import in_the_layout_of
from runtime.task import Setup
from utils.errors import RunError
from utils.input.batching import STATUS_OK, Position, Shard
from utils.records.manifest import read_manifest
from utils.records.record_files import split_files_by_name

tf1 = tf.compat.v1
_log = logging.getLogger(__name__)


def calibration_split(data_dir: Path) -> str:
    """The split for calibration: "train" if possible, so that no artefact is judged on its own calibration images.

    Raises:
        RunError: The manifest cannot be read.
    """
    manifest = read_manifest(data_dir)
    there = split_files_by_name(data_dir) if manifest is None else manifest.splits
    if "train" in there and (manifest is None or manifest.splits["train"].examples):
        return "train"
    _log.warning("--data_dir %s: has no training images; validation images calibrate int8", data_dir)
    return "validation"


def calibration_images(setup: Setup, count: int) -> np.ndarray:
    """Up to ``count`` raw images, cropped as in evaluation: [n, S, S, 3].

    Raises:
        RunError: No image can be read.
    """
    found: list[np.ndarray] = []
    with tf.Graph().as_default(), tf1.Session(config=setup.session_config) as session:
        data = setup.task.data.input("validation", Shard(), Position())
        session.run(data.initializer)
        while len(found) < count:
            try:
                images, status = session.run([data.batch.images, data.batch.status])
            except tf.errors.OutOfRangeError:
                break
            found += list(images[status == STATUS_OK])
    if not found:
        raise RunError("--data_dir: no image could be read to calibrate int8 (--format)")
    return np.stack(found[:count])


def batches(images: np.ndarray, batch: int, shape: Iterable[int | None]) -> Iterable[np.ndarray]:
    """Whole batches in the layout of an input shape."""
    ordered = in_the_layout_of(tuple(shape), images)
    for first in range(0, len(images) - batch + 1, batch):
        yield np.asarray(ordered[first : first + batch], np.float32)
