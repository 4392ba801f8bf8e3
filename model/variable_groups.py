"""The parts of a network that are trained apart, by the names of its variables (no TF)."""

from __future__ import annotations

from model.specs import SSD_NAMES, Part

CLASSIFIER_SCOPE = "output"


def part_of_classifier(name: str) -> Part:
    """The part of a classifier that a variable belongs to: the layer that tells classes is its head."""
    return "head" if name.split("/")[1:2] == [CLASSIFIER_SCOPE] else "backbone"


def part_of_detector(name: str) -> Part:
    """The part of a detector that a variable belongs to: its head predicts boxes and classes, towers included."""
    if name.startswith(f"{SSD_NAMES.predictor}/"):
        return "head"
    return "pyramid" if name.startswith(f"{SSD_NAMES.pyramid_scope}/") else "backbone"
