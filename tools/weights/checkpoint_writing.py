"""Writes values by name as a checkpoint, without a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from utils.checkpoints import CheckpointDir
from utils.errors import RunError, UsageError, reason
from utils.host_session import on_host
from utils.weights.checkpoint_contents import assign
from utils.weights.description import PREFIX

tf1 = tf.compat.v1


def require_free(folder: Path) -> None:
    """Refuses a folder that is not empty, so that nothing is lost or mixed.

    Raises:
        UsageError: It is not empty, or not a folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists and is not an empty folder; DST must be new or empty")


def write_described(folder: Path, values: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> Path:
    """Writes a checkpoint with its description, for ``--model_dir`` and for training; without a step, that of step 0.

    Raises:
        RunError: Writing failed.
    """
    values = {"global_step": np.zeros((), np.int64), **values}
    with _variables(values) as (session, saver):
        target = CheckpointDir(folder, keep=1, flag="DST")
        target.prepare()
        return target.save(session, saver, int(values["global_step"]), metadata)


def write_plain(folder: Path, values: Mapping[str, np.ndarray]) -> Path:
    """Writes a checkpoint of the step in ``values`` as TensorFlow 1 does, without a description.

    Raises:
        RunError: Writing failed.
    """
    prefix = folder / f"{PREFIX}-{int(values['global_step'])}"
    with _variables(values) as (session, saver), session.graph.as_default():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            saver.save(session, str(prefix), write_meta_graph=False)
        except (OSError, tf.errors.OpError) as error:
            raise RunError(f"{folder}: cannot be written to: {reason(error)}") from error
    return prefix


@contextmanager
def _variables(values: Mapping[str, np.ndarray]) -> Iterator[tuple[Any, Any]]:
    """Yields a session with variables of these values, and a saver for them."""
    arrays = {name: np.asarray(value) for name, value in values.items()}
    with tf.Graph().as_default(), tf1.Session(config=on_host()) as session:
        made = [
            tf1.get_variable(name, array.shape, array.dtype, initializer=tf1.zeros_initializer(), use_resource=True)
            for name, array in arrays.items()
        ]
        assign(session, made, arrays)
        yield session, tf1.train.Saver(made, max_to_keep=None)
