"""The parts of a network that can be trained separately, by variable name (no TF)."""

from __future__ import annotations

from model.specs import SSD_NAMES, Part, ResNetSpec

CLASSIFIER_SCOPE = "output"


def part_of_classifier(name: str) -> Part:
    """Returns the part of a classifier that a variable belongs to; its output layer is the head."""
    return "head" if name.split("/")[1:2] == [CLASSIFIER_SCOPE] else "backbone"


def depth_in_classifier(name: str, spec: ResNetSpec) -> int:
    """Returns the number of groups from a variable to the head, which is at 0.

    The groups are the stem, each residual block and the head: the last block is at 1, the stem one beyond the first
    block.
    """
    if part_of_classifier(name) == "head":
        return 0
    order = [spec.names.block_name(stage, i) for stage, blocks in enumerate(spec.blocks) for i in range(blocks)]
    inner = name.partition("/")[2]
    places = (place for place, block in enumerate(order) if inner.startswith(f"{block}/"))
    return len(order) - next(places, -1)


def part_of_detector(name: str) -> Part:
    """Returns the part of a detector that a variable belongs to; its predictors and their towers are the head."""
    scopes = name.split("/")
    if scopes[0] == SSD_NAMES.predictor:
        return "head"
    return "pyramid" if scopes[2:3] == [SSD_NAMES.pyramid] else "backbone"
