"""The options of a task that weights and data decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.classification.resolve_classifier import resolve_model
from runtime.setup.detection import resolve_detection
from utils.config import CLASSIFIERS, DETECTORS, ExperimentConfig, RunConfig
from utils.detection_config import DetectionConfig
from utils.errors import UsageError
from utils.records.class_names import read_names_in_order
from utils.records.manifest import Manifest
from utils.records.split_files import SplitFiles


def detector_of_checkpoint(config: ExperimentConfig, metadata: Mapping[str, Any]) -> ExperimentConfig:
    """The configuration of a detector if the weights are a detector's and --arch is missing; training needs --arch."""
    if config.model.architecture or metadata.get("task") != "detection" or config.run.is_training:
        return config
    model = dataclasses.replace(config.model, architecture=metadata["architecture"])
    return dataclasses.replace(config, model=model, detection=DetectionConfig())


def resolve_options(
    config: ExperimentConfig, splits: Mapping[str, SplitFiles], metadata: Mapping[str, Any]
) -> tuple[ExperimentConfig, tuple[str, ...]]:
    """The configuration with the values that weights and data decide, and sentences for the log.

    Raises:
        UsageError: Flags, weights and data contradict each other.
        RunError: A file of class names or a label map cannot be read.
    """
    _check_task(config, splits, metadata)
    resolve = resolve_detection if config.detection else _resolve_classification
    return resolve(config, splits, metadata)


def _check_task(config: ExperimentConfig, splits: Mapping[str, SplitFiles], metadata: Mapping[str, Any]) -> None:
    """Rejects weights or data of a detector for a classifier, and vice versa."""
    ours, other = ("detection", CLASSIFIERS) if config.detection else ("classification", DETECTORS)
    flag = f"--arch {config.model.architecture}" if config.model.architecture else "--arch is not given"
    stored = metadata.get("task", ours)
    if stored != ours:
        raise UsageError(f"{flag}: the checkpoint holds {metadata.get('architecture')}, which is for {stored}")
    several = bool(metadata.get("multi_label"))
    if several and not config.run.is_training and config.run.top_k != RunConfig().top_k:
        raise UsageError(
            f"--top_k {config.run.top_k}: not used with networks trained with --multi_label; see --min_score"
        )
    if not config.detection and not several and config.run.min_score != RunConfig().min_score:
        raise UsageError(
            f"--min_score {config.run.min_score:g}: only used with {DETECTORS[0]}, which detects objects, and with "
            "networks trained with --multi_label"
        )
    for files in splits.values():
        if files.manifest and files.manifest.task != ours:
            raise UsageError(
                f"{flag}: the records in {Path(files.paths[0]).parent} are for {files.manifest.task}; networks for it: "
                f"{', '.join(other)}"
            )


def _resolve_classification(
    config: ExperimentConfig, splits: Mapping[str, SplitFiles], metadata: Mapping[str, Any]
) -> tuple[ExperimentConfig, tuple[str, ...]]:
    manifest = next((files.manifest for files in splits.values()), None)
    names = read_names_in_order(config.data.class_names_file) if config.data.class_names_file else None
    config = _with_labels_of(config, manifest, metadata)
    model, notes = resolve_model(config.model, manifest, metadata or None, names)
    return dataclasses.replace(config, model=model), notes


def _with_labels_of(
    config: ExperimentConfig, manifest: Manifest | None, metadata: Mapping[str, Any]
) -> ExperimentConfig:
    """The configuration for one label an image or several: as in the checkpoint, else as the flag says.

    Raises:
        UsageError: Flag, checkpoint and data contradict each other.
    """
    asked = config.model.multi_label
    several = bool(metadata.get("multi_label")) if metadata else asked
    if config.run.is_training and several != asked:
        kinds = ("one label an image", "several labels an image (--multi_label)")
        raise UsageError(
            f"--multi_label is {'given' if asked else 'not given'}: the checkpoint was trained on {kinds[several]}, "
            "and a run has to continue so; start a new run from its weights with --finetune_checkpoint"
        )
    if manifest is not None and manifest.multi_label and not several:
        remedy = "give --multi_label" if config.run.is_training else "the network knows one label an image"
        raise UsageError(f"--data_dir {config.data.data_dir}: its images have several labels each; {remedy}")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, multi_label=several))
