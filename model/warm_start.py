"""Weights that a detector can warm-start from: a detector's or a classifier's, by variable name (no TF)."""

from __future__ import annotations

from collections.abc import Iterable

from model.checkpoint_names import SLIM_SCOPE, is_slim, own_classifier
from model.specs import BACKBONES, RESNETS, SSD_NAMES
from model.variables import backbone_variables

CLASS_HEAD = tuple(f"{SSD_NAMES.predictor}/{SSD_NAMES.class_head}/{kind}" for kind in ("weights", "biases"))


def backbone_of(stored: Iterable[str]) -> str | None:
    """Returns the row of ``BACKBONES`` that a classifier with these variables can be, or None."""
    stored = set(stored)
    return own_classifier(stored) or (SLIM_SCOPE if is_slim(stored) else None)


def detector_sources(stored: Iterable[str], backbone: str) -> dict[str, str]:
    """Maps each detector variable that a checkpoint provides to its name there.

    A detector's own variables match by name; slim's ``resnet_v1_50`` and this project's classifiers provide only the
    backbone.

    Args:
        stored: All names in the checkpoint.
        backbone: The row of ``BACKBONES`` in the detector; that of ``stored``, if these are a classifier's.
    """
    stored = set(stored)
    classifier = own_classifier(stored)
    if classifier is None and not is_slim(stored):
        return {name: name for name in stored}
    row = BACKBONES[backbone]
    ours, theirs = (backbone_variables(spec) for spec in (row, RESNETS[classifier] if classifier else row))
    scope = f"{SSD_NAMES.features}/{row.name}"
    root = classifier or SLIM_SCOPE
    return {f"{scope}/{our}": f"{root}/{their}" for our, their in zip(ours, theirs, strict=True)}
