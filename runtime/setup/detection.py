"""The categories, the backbone and the size of a detector: from flags, data, checkpoint or a warm start."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from model.warm_start import backbone_of
from object_detection.label_map import COCO_LABEL_MAP, read_label_map
from object_detection.records.object_records import has_objects
from runtime.detection.resolve_detector import (
    DEFAULT_BACKBONE,
    Categories,
    check_turns,
    disagreement,
    numbered_categories,
    resolve_detector,
    stored_categories,
    stored_norm,
)
from runtime.setup.weights import described
from utils.checkpoints import find_checkpoint
from utils.config import ExperimentConfig
from utils.records.manifest import LABEL_MAP_NAME
from utils.records.split_files import SplitFiles
from utils.weights.checkpoint_contents import stored_shapes

COCO_LARGEST_ID = 90
VALIDATOR = "`python -m tools.validate`"
LOOKED_AT = 1000  # examples of a split, before it is said to have no objects


class _StartingWeights(NamedTuple):
    """The weights for a warm start: their row of ``BACKBONES``, and the rest if they are a detector's."""

    backbone: str | None = None
    categories: Categories | None = None
    norm: str | None = None


def resolve_detection(
    config: ExperimentConfig, splits: Mapping[str, SplitFiles], metadata: Mapping[str, Any]
) -> tuple[ExperimentConfig, tuple[str, ...]]:
    """The configuration with known categories, backbone and size, and sentences for the log.

    Raises:
        UsageError: Flags, data and checkpoint contradict each other.
        RunError: A label map or checkpoint cannot be read.
    """
    asked = config.detection
    if asked is None:
        raise ValueError("ExperimentConfig.detection is None; must be set for a detector")
    warm_start = config.run.finetune_checkpoint
    start = _StartingWeights() if metadata or not warm_start else _warm_start(Path(warm_start))
    origin = start.categories
    new_classes = config.run.reset_head or config.run.finetune_scope
    first = stored_categories(metadata) or (None if new_classes else origin)
    known = _known_categories(config, splits)
    notes: tuple[str, ...] = ()
    if first is not None and first is origin and known and (difference := disagreement(origin, known[0])):
        first, config = None, dataclasses.replace(config, run=dataclasses.replace(config.run, reset_head=True))
        notes = (f"--finetune_checkpoint {warm_start}: {difference}; the class head starts with new weights",)
    sources = [found for found in (first, *known) if found is not None]
    assumed = () if sources else (_default_categories(config.model.num_classes or metadata.get("num_classes")),)
    model, detection, more = resolve_detector(
        config.model, asked, metadata, sources or list(assumed), start.backbone, start.norm
    )
    notes += more
    if config.run.is_training:
        check_turns(model, detection)
    if splits:
        notes += tuple(
            f"neither checkpoint nor data name their categories; assuming those of {categories.origin} (--label_map)"
            for categories in assumed
        )
    return dataclasses.replace(config, model=model, detection=detection), notes


def notes_on_objects(splits: Mapping[str, SplitFiles]) -> tuple[str, ...]:
    """A sentence about each split without an object among its first examples."""
    notes = []
    for split, files in splits.items():
        if not has_objects(files, LOOKED_AT):
            examples = f"first {LOOKED_AT:,}" if files.examples > LOOKED_AT else f"{files.examples:,}"
            notes.append(
                f"{split}: none of its {examples} examples has an object; {VALIDATOR} on the folder tells more"
            )
    return tuple(notes)


def _known_categories(config: ExperimentConfig, splits: Mapping[str, SplitFiles]) -> list[Categories]:
    """The categories of the given label map, then those of the data."""
    found = []
    if config.data.label_map_file:
        found.append(_read_categories(Path(config.data.label_map_file)))
    manifests = [files.manifest for files in splits.values() if files.manifest]
    for manifest in manifests[:1]:
        ids = manifest.category_ids or ()
        found.append(Categories(ids, manifest.class_names, (), "the data's dataset.json"))
    beside = Path(config.data.data_dir or ".") / LABEL_MAP_NAME
    if config.data.data_dir and beside.is_file():
        found.append(_read_categories(beside))
    return found


def _default_categories(num_classes: int | None) -> Categories:
    return (
        _read_categories(COCO_LABEL_MAP)
        if num_classes in (None, COCO_LARGEST_ID)
        else numbered_categories(int(num_classes))
    )


def _read_categories(path: Path) -> Categories:
    items = [item for item in read_label_map(path) if not item.is_background]
    return Categories(
        tuple(item.id for item in items),
        tuple(item.title for item in items),
        tuple(item.name for item in items),
        str(path),
    )


def _warm_start(path: Path) -> _StartingWeights:
    """The description of the weights for a warm start."""
    prefix = find_checkpoint(path)
    if prefix is None:  # reported when the weights are loaded
        return _StartingWeights()
    metadata = described(prefix)
    if metadata.get("task") == "detection":
        backbone = metadata.get("backbone") or DEFAULT_BACKBONE
        return _StartingWeights(backbone, stored_categories(metadata), stored_norm(metadata))
    return _StartingWeights(backbone_of(stored_shapes(prefix)))
