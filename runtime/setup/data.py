"""The records that a launch reads, and the seed of all randomness."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.training.stored_options import check_folds
from utils.config import ExperimentConfig
from utils.hvd_utils import Communicator
from utils.records.folds import folds_of, split_by_fold
from utils.records.split_files import SplitFiles, load_pattern, load_split

SPLITS_READ = {
    "train": ("train",),
    "train_and_evaluate": ("train", "validation"),
    "evaluate": ("validation",),
    "training_benchmark": ("train",),
    "inference_benchmark": ("validation",),
    "predict": (),
}


def seed_and_splits(
    config: ExperimentConfig,
    checkpoint: Path | None,
    metadata: Mapping[str, Any],
    communicator: Communicator,
    *,
    keep: bool,
) -> tuple[int, dict[str, SplitFiles]]:
    """The seed of all randomness, and the files of each split that the mode reads.

    Args:
        config: The configuration of the launch.
        checkpoint: The checkpoint to start from, if any.
        metadata: Its description; empty without one.
        communicator: The processes of the launch; rank 0 draws the seed and the folds.
        keep: Whether the labels of the records, which folds need, may be kept in files.

    Raises:
        UsageError: Flags contradict the checkpoint or the data.
        RunError: Records are missing or damaged.
    """
    check_folds(config, checkpoint, metadata)
    seed: int = communicator.broadcast(_seed(config, metadata))
    data = config.data
    if data.folds is None or data.fold is None:
        return seed, _splits(config)
    made = folds_of(str(data.data_dir), data.folds, seed, keep=keep) if communicator.rank == 0 else None
    files, assigned = communicator.broadcast(made)
    parts = split_by_fold(files, assigned, data.fold)
    return seed, {split: parts[split] for split in SPLITS_READ[config.run.mode]}


def _splits(config: ExperimentConfig) -> dict[str, SplitFiles]:
    """The files of each split that the mode reads; evaluation may read another split than validation."""
    data, found = config.data, {}
    for split in SPLITS_READ[config.run.mode]:
        source = data.eval_split if split == "validation" else split
        patterns = data.train_files if source == "train" else data.validation_files
        if patterns:
            field = "train_input_path" if source == "train" else "eval_input_path"
            found[split] = load_pattern(patterns, source, f"--pipeline_config_path: {field}")
        elif data.data_dir is not None:
            found[split] = load_split(Path(data.data_dir), source)
    return found


def _seed(config: ExperimentConfig, metadata: Mapping[str, Any]) -> int:
    if config.run.seed is not None:
        stored = metadata.get("seed", config.run.seed)
        if config.run.is_training and stored != config.run.seed:
            logging.getLogger(__name__).warning(
                "--seed %d: the run started with seed %d; from here on it uses the new one", config.run.seed, stored
            )
        return config.run.seed
    return int(metadata["seed"]) if "seed" in metadata else secrets.randbelow(2**31)
