"""The weights that a launch begins with, and their description."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.checkpoint_names import describe
from runtime.artefacts.artefact import Artefact
from runtime.artefacts.formats import artefacts_in
from runtime.training.stored_options import check_optimizer
from utils.checkpoints import find_checkpoint
from utils.config import ExperimentConfig
from utils.errors import RunError, UsageError
from utils.hvd_utils import Communicator
from utils.records.manifest import LABEL_OFFSET
from utils.suggestions import absence, path_hint
from utils.weights.checkpoint_contents import stored_shapes
from utils.weights.checkpoint_files import read_metadata
from utils.weights.pretrained_config import ORIGINS, PretrainedConfig, stored_pretrained_config

FoundWeights = tuple[Path | None, dict[str, Any], PretrainedConfig]
"""The checkpoint to start from, its description, and the settings of its training."""


def starting_weights(config: ExperimentConfig, artefact: Artefact | None, communicator: Communicator) -> FoundWeights:
    """The weights of the artefact, else of the checkpoint that rank 0 finds.

    Raises:
        UsageError: Flags contradict the checkpoint, or training would begin in a checkpoint instead of a folder.
        RunError: The mode needs weights that are missing, or the checkpoint cannot be read.
    """
    if artefact is not None:
        metadata = dict(artefact.metadata)
        return artefact.path, metadata, stored_pretrained_config(metadata)
    found: FoundWeights = communicator.broadcast(_stored(config) if communicator.rank == 0 else None)
    return found


def _stored(config: ExperimentConfig) -> FoundWeights:
    """The weights that the flags name."""
    checkpoint = _checkpoint(config)
    metadata = described(checkpoint) if checkpoint else {}
    if checkpoint:
        check_optimizer(config, checkpoint, metadata)
    origin, pretrained = metadata.get("origin"), stored_pretrained_config(metadata)
    if checkpoint and origin:
        logging.getLogger(__name__).warning("%s: %s", checkpoint, _assumptions(metadata, pretrained))
    warm_start = config.run.finetune_checkpoint if config.run.is_training else None
    if checkpoint is None and warm_start:
        prefix = find_checkpoint(Path(warm_start))
        begun = described(prefix) if prefix else {}
        pretrained = warm_start_pretrained_config(begun, detector=config.detection is not None)
    return checkpoint, metadata, pretrained


def described(prefix: Path) -> dict[str, Any]:
    """The description beside a checkpoint, else one inferred from its names, with "origin"; empty if they are unknown.

    Raises:
        RunError: The description or the checkpoint cannot be read.
    """
    metadata = read_metadata(prefix)
    return describe(stored_shapes(prefix)) if metadata is None else metadata


def warm_start_pretrained_config(metadata: Mapping[str, Any], *, detector: bool) -> PretrainedConfig:
    """The settings of a run that starts from weights described by ``metadata``.

    As a detector's backbone, the weights of this project's classifiers keep their settings; slim's get the settings of
    the detector's default backbone.
    """
    if detector and metadata.get("origin") == "slim":
        return PretrainedConfig()
    return stored_pretrained_config(metadata)


def _checkpoint(config: ExperimentConfig) -> Path | None:
    """The checkpoint to start from, or None; a training benchmark always starts without one."""
    run, folder = config.run, Path(config.run.checkpoint_dir)
    if run.mode == "training_benchmark":
        return None
    found, flag = find_checkpoint(folder), "--model_dir" if run.model_dir else "--results_dir"
    if run.is_training and found is not None and found.parent.resolve() != folder.resolve():
        raise UsageError(f"{flag} {folder}: training writes checkpoints, so name a folder, not a checkpoint")
    if found is None and run.mode in ("evaluate", "predict"):
        others = ", ".join(path.name for path in artefacts_in(folder))
        raise RunError(
            f"{flag} {folder}: {absence(folder)}; --mode {run.mode} needs trained weights (--model_dir)"
            + (f"; name one of the artefacts in the folder: {others}" if others else path_hint(folder))
        )
    if found is None and run.mode == "inference_benchmark" and run.export_dir:
        raise RunError(f"--export_dir {run.export_dir}: cannot export random weights; {folder}: {absence(folder)}")
    return found


def _assumptions(metadata: Mapping[str, Any], pretrained: PretrainedConfig) -> str:
    """A sentence with the assumptions about a checkpoint without a description."""
    classes = metadata.get("num_classes")
    labels = ""
    if metadata["task"] == "classification":
        labels = f"; logit i is label i + {LABEL_OFFSET} of the records unless their dataset.json says otherwise"
    ranges = ""
    if metadata.get("has_ranges"):
        ranges = "; it has quantization ranges, which --quantize uses (with --symmetric, --use_qdq as in its training)"
    return (
        f"has no description; by its names it is {ORIGINS[metadata['origin']]}, taken for {metadata['architecture']} "
        f"with {classes or 'no known number of'} classes, {pretrained.summary()}{labels}{ranges}"
    )
