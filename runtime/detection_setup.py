"""From what was asked of a detector to what will run: its categories, its backbone, and the task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.foreign_names import OWN_CLASSIFIER, is_own_classifier
from object_detection.label_map import read_label_map
from runtime.foreign import described
from utils.checkpoint_contents import stored_shapes
from utils.checkpoints import find_checkpoint
from utils.config import ExperimentConfig
from utils.manifest import LABEL_MAP_NAME, SplitFiles
from utils.resolve_detection import (
    Categories,
    disagreement,
    numbered_categories,
    resolve_detector,
    stored_categories,
)

COCO_LABEL_MAP = Path(__file__).resolve().parent.parent / "object_detection" / "data" / "mscoco_label_map.pbtxt"
COCO_LARGEST_ID = 90


def resolve_detection(
    config: ExperimentConfig, splits: Mapping[str, SplitFiles], metadata: Mapping[str, Any]
) -> tuple[ExperimentConfig, tuple[str, ...]]:
    """The configuration with everything about categories, backbone and size known, and sentences for the log.

    Raises:
        UsageError: Flags, data and checkpoint contradict each other.
        RunError: A label map or checkpoint cannot be read.
    """
    if config.detection is None:
        raise ValueError("the configuration is not a detector's")
    warm_start = config.run.finetune_checkpoint
    backbone, origin = (None, None) if metadata or not warm_start else _backbone_of(Path(warm_start))
    new_classes = config.run.reset_head or config.run.finetune_scope
    first = stored_categories(metadata) or (None if new_classes else origin)
    known = _known_categories(config, splits)
    notes: tuple[str, ...] = ()
    if first is not None and first is origin and known and (difference := disagreement(origin, known[0])):
        first, config = None, dataclasses.replace(config, run=dataclasses.replace(config.run, reset_head=True))
        notes = (f"--finetune_checkpoint {warm_start}: {difference}; the class head begins with new weights",)
    sources = [found for found in (first, *known) if found is not None]
    assumed = () if sources else (_default_categories(config.model.num_classes or metadata.get("num_classes")),)
    model, detection, more = resolve_detector(
        config.model, config.detection, metadata, sources or list(assumed), backbone
    )
    notes += more
    if splits:
        notes += tuple(
            f"neither checkpoint nor data name their categories; those of {categories.origin} are assumed (--label_map)"
            for categories in assumed
        )
    return dataclasses.replace(config, model=model, detection=detection), notes


def _known_categories(config: ExperimentConfig, splits: Mapping[str, SplitFiles]) -> list[Categories]:
    """Those of the label map that was given, then those of the data."""
    found = []
    if config.data.label_map_file:
        found.append(_read(Path(config.data.label_map_file)))
    manifests = [files.manifest for files in splits.values() if files.manifest]
    for manifest in manifests[:1]:
        ids = manifest.category_ids or ()
        found.append(Categories(ids, manifest.class_names, (), "the data's dataset.json"))
    beside = Path(config.data.data_dir or ".") / LABEL_MAP_NAME
    if config.data.data_dir and beside.is_file():
        found.append(_read(beside))
    return found


def _default_categories(num_classes: int | None) -> Categories:
    return _read(COCO_LABEL_MAP) if num_classes in (None, COCO_LARGEST_ID) else numbered_categories(int(num_classes))


def _read(path: Path) -> Categories:
    items = [item for item in read_label_map(path) if not item.is_background]
    return Categories(
        tuple(item.id for item in items),
        tuple(item.title for item in items),
        tuple(item.name for item in items),
        str(path),
    )


def _backbone_of(path: Path) -> tuple[str | None, Categories | None]:
    """What the weights of a warm start were trained as, a row of ``BACKBONES``, and the categories of a detector."""
    prefix = find_checkpoint(path)
    if prefix is None:  # said where the weights are loaded
        return None, None
    metadata = described(prefix)
    if metadata.get("task") == "detection":
        return metadata.get("backbone"), stored_categories(metadata)
    return (OWN_CLASSIFIER if is_own_classifier(stored_shapes(prefix)) else None), None
