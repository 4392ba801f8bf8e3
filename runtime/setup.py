"""From what was asked for to what will run: checkpoint, data, label space, precision and task of one launch."""

from __future__ import annotations

import dataclasses
import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.layers.conv2d import probe_grouped_convolution
from model.layers.options import LayerOptions
from model.specs import RESNETS
from runtime.classification import Classification
from runtime.precision import Precision, choose_precision, cpu_features
from runtime.session import session_config, uses_gpu
from runtime.task import Setup
from utils.checkpoints import find_checkpoint, read_metadata
from utils.class_names import read_names_in_order
from utils.config import ExperimentConfig
from utils.errors import RunError, UsageError
from utils.hvd_utils import Communicator
from utils.manifest import SplitFiles, load_split
from utils.resolve import resolve_model

SPLITS_READ = {
    "train": ("train",),
    "train_and_evaluate": ("train", "validation"),
    "evaluate": ("validation",),
    "training_benchmark": ("train",),
    "inference_benchmark": ("validation",),
    "predict": (),
}


def set_up(config: ExperimentConfig, communicator: Communicator) -> Setup:
    """Resolves a configuration against the checkpoint, the data and the machine.

    Raises:
        UsageError: Flags contradict the checkpoint, the data or the machine.
        RunError: Checkpoint or data are missing or damaged.
    """
    options = session_config(config, communicator.local_rank)
    checkpoint = _checkpoint(config)
    metadata = (read_metadata(checkpoint) if checkpoint else None) or {}
    splits = _splits(config)
    manifest = next((files.manifest for files in splits.values()), None)
    names = read_names_in_order(config.data.class_names_file) if config.data.class_names_file else None
    model, notes = resolve_model(config.model, manifest, metadata or None, names)
    config = dataclasses.replace(config, model=model)
    precision = choose_precision(config.precision, gpu=uses_gpu(config), cpu_features=cpu_features())
    for note in (*notes, precision.note):
        if note:
            logging.getLogger(__name__).warning("%s", note)
    seed = _seed(config, metadata)
    layers = LayerOptions(
        data_format=model.data_format,
        weight_init=model.weight_init,
        compute_dtype=precision.compute_dtype,
        grouped_convolution=_grouped_convolution(model.architecture, model.data_format, precision, options),
        seed=seed,
    )
    return Setup(
        config=config,
        task=Classification(config, splits, seed, layers, communicator.size),
        precision=precision,
        session_config=options,
        seed=seed,
        splits=splits,
        checkpoint=checkpoint,
        metadata=metadata,
    )


def _checkpoint(config: ExperimentConfig) -> Path | None:
    """The checkpoint to start from: training may begin without one, a benchmark of training always does."""
    run, folder = config.run, Path(config.run.checkpoint_dir)
    if run.mode == "training_benchmark":
        return None
    found = find_checkpoint(folder)
    if run.is_training and found is not None and found.parent.resolve() != folder.resolve():
        raise UsageError(f"--model_dir {folder}: training writes checkpoints, so name a folder, not a checkpoint")
    if found is None and run.mode in ("evaluate", "predict"):
        flag = "--model_dir" if run.model_dir else "--results_dir"
        raise RunError(
            f"{flag} {folder}: holds no checkpoint; --mode {run.mode} needs trained weights, which --model_dir names"
        )
    if found is None and run.mode == "inference_benchmark" and run.export_dir:
        raise RunError(f"--export_dir {run.export_dir}: random weights are not exported; {folder} holds no checkpoint")
    return found


def _splits(config: ExperimentConfig) -> dict[str, SplitFiles]:
    data_dir = config.data.data_dir
    if data_dir is None:
        return {}
    return {split: load_split(Path(data_dir), split) for split in SPLITS_READ[config.run.mode]}


def _seed(config: ExperimentConfig, metadata: Mapping[str, Any]) -> int:
    if config.run.seed is not None:
        stored = metadata.get("seed", config.run.seed)
        if config.run.is_training and stored != config.run.seed:
            logging.getLogger(__name__).warning(
                "--seed %d: the run was begun with seed %d; from here on the new one holds", config.run.seed, stored
            )
        return config.run.seed
    return int(metadata["seed"]) if "seed" in metadata else secrets.randbelow(2**31)


def _grouped_convolution(architecture: str | None, data_format: str, precision: Precision, options: Any) -> str:
    if architecture is None or RESNETS[architecture].cardinality == 1:
        return "native"
    choice = probe_grouped_convolution(data_format, precision.compute_dtype, options)
    if choice != "native":
        logging.getLogger(__name__).warning(
            "this device has no grouped convolution (TF_ENABLE_ONEDNN_OPTS=0 on a CPU has none): computing the groups "
            "one by one, which is slower"
        )
    return choice
