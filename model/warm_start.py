"""Weights that a detector can warm-start from: a detector's or a classifier's, by variable name (no TF)."""

from __future__ import annotations

from collections.abc import Iterable

from model.checkpoint_names import OWN_CLASSIFIER, SLIM_SCOPE, backbone_pairs, is_own_classifier, is_slim
from model.specs import RESNETS, SLIM_NAMES, SSD_NAMES

STEM_KERNEL = f"{SSD_NAMES.backbone_scope}/{SLIM_NAMES.stem}/{SLIM_NAMES.kernel}"
CLASS_HEAD = tuple(f"{SSD_NAMES.predictor}/{SSD_NAMES.class_head}/{kind}" for kind in ("weights", "biases"))


def detector_sources(stored: Iterable[str]) -> dict[str, str]:
    """Maps each detector variable that a checkpoint provides to its name there.

    A detector's own variables match by name; slim's ``resnet_v1_50`` and this project's ``resnet50`` provide only the
    backbone.

    Args:
        stored: All names in the checkpoint.
    """
    stored = set(stored)
    pairs = backbone_pairs(RESNETS[OWN_CLASSIFIER])
    if is_own_classifier(stored):
        return {f"{SSD_NAMES.backbone_scope}/{slim}": f"{OWN_CLASSIFIER}/{ours}" for ours, slim in pairs}
    if is_slim(stored):
        return {f"{SSD_NAMES.backbone_scope}/{slim}": f"{SLIM_SCOPE}/{slim}" for _, slim in pairs}
    return {name: name for name in stored}
