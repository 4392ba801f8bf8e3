"""The parts of a network that can be trained separately, by variable name (no TF)."""

from __future__ import annotations

from model.specs import SSD_NAMES, Part

CLASSIFIER_SCOPE = "output"


def part_of_classifier(name: str) -> Part:
    """Returns the part of a classifier that a variable belongs to; its output layer is the head."""
    return "head" if name.split("/")[1:2] == [CLASSIFIER_SCOPE] else "backbone"


def part_of_detector(name: str) -> Part:
    """Returns the part of a detector that a variable belongs to; its predictors and their towers are the head."""
    scopes = name.split("/")
    if scopes[0] == SSD_NAMES.predictor:
        return "head"
    return "pyramid" if scopes[2:3] == [SSD_NAMES.pyramid] else "backbone"
