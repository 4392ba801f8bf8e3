"""Artefacts named by ``--model_dir`` instead of a checkpoint, and the flags that apply to them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import tensorflow as tf

from runtime.artefacts.artefact import Artefact
from runtime.artefacts.formats import find_artefact, format_of, function
from runtime.devices.precision import Precision
from runtime.session import compiles
from utils.config import ExperimentConfig
from utils.errors import UsageError
from utils.hvd_utils import Communicator
from utils.system.machine import BFLOAT16_FEATURES, cpu_features

_log = logging.getLogger(__name__)


def open_model_dir(config: ExperimentConfig, communicator: Communicator) -> Artefact | None:
    """Opens the artefact that ``--model_dir`` names; None if it names a checkpoint, a folder of them, or nothing.

    Each process opens it, so all of them must be able to read the path.

    Raises:
        UsageError: The mode or a size does not fit the artefact.
        RunError: The artefact is damaged.
    """
    run, given = config.run, Path(config.run.checkpoint_dir)
    path = find_artefact(given)
    if path is None or run.mode == "training_benchmark":
        return None
    if run.is_training:
        raise UsageError(
            f"--model_dir {given}: is an artefact; --mode {run.mode} writes checkpoints and needs a folder"
        )
    if run.export_dir:
        raise UsageError(f"--export_dir {run.export_dir}: {given} is an artefact already; export its checkpoint")
    threads = communicator.threads if communicator.size > 1 else config.data.threads
    artefact = open_artefact(path, threads or len(os.sched_getaffinity(0)))
    if compiles(config) and not artefact.runtime.startswith("TensorFlow"):
        _log.warning("--xla: has no effect on %s, which %s runs", path, artefact.runtime)
    if config.model.data_format == "NCHW":
        _log.warning("--data_format NCHW: has no effect on %s, which computes as it was exported", path)
    artefact.check(config.data.batch_size_per_replica, config.model.image_size)
    return _in_mixed_precision(artefact) if config.precision.amp else artefact


def _in_mixed_precision(artefact: Artefact) -> Artefact:
    """The artefact as ``--amp`` computes it: in bfloat16, if its runtime and this CPU can."""
    if artefact.in_bfloat16 is None:
        _log.warning("--amp: has no effect on %s, which computes as it was exported", artefact.path)
    elif not cpu_features() & BFLOAT16_FEATURES:
        _log.warning("--amp: has no effect on %s, because this CPU has no instructions for bfloat16", artefact.path)
    else:
        return artefact.in_bfloat16()
    return artefact


def open_artefact(path: Path, threads: int | None = None) -> Artefact:
    """Opens an artefact that ``formats.find_artefact`` returned.

    Args:
        path: The file, or the folder of a SavedModel.
        threads: Number of threads for runtimes other than TensorFlow; None for their default.

    Raises:
        UsageError: The package of its runtime is missing.
        RunError: The artefact is damaged, or another program wrote it.
    """
    row = format_of(path)
    if row is None:
        raise ValueError(f"{path} is not an artefact")
    found: Artefact = function(row.open)(path, threads)
    return found


def precision_of(artefact: Artefact | None) -> Precision | None:
    """The precision that labels the results of an artefact."""
    return None if artefact is None else Precision(compute_dtype=tf.as_dtype(artefact.precision))
