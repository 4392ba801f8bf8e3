"""What is known of a checkpoint: its description, or what names and shapes tell of one that another program wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.foreign_names import OWN_CLASSIFIER, describe
from utils.checkpoint_contents import stored_shapes
from utils.checkpoints import read_metadata
from utils.convention import Convention, stored_convention


def described(prefix: Path) -> dict[str, Any]:
    """The description beside a checkpoint, else one from its names, with "origin"; empty where they are unknown.

    Raises:
        RunError: The description or the checkpoint cannot be read.
    """
    metadata = read_metadata(prefix)
    return describe(stored_shapes(prefix)) if metadata is None else metadata


def warm_convention(metadata: Mapping[str, Any], *, detector: bool) -> Convention:
    """The convention of a run that begins with the weights of which this is known.

    A classifier's weights are a detector's backbone under their own convention where they are a resnet50 of this
    project; for slim's the detector's usual backbone is made.
    """
    if detector and metadata.get("task") != "detection" and metadata.get("architecture") != OWN_CLASSIFIER:
        return Convention()
    if detector and metadata.get("origin") == "slim":
        return Convention()
    return stored_convention(metadata)
