"""Which weights of a checkpoint a detector can begin with: itself or a classifier's, by variable names (no TF)."""

from __future__ import annotations

from collections.abc import Iterable

from model.specs import RESNETS, SLIM_NAMES, ResNetNames

BACKBONE_SCOPE = "FeatureExtractor/resnet_v1_50"
SLIM_SCOPE = "resnet_v1_50"
STEM_KERNEL = f"{BACKBONE_SCOPE}/{SLIM_NAMES.stem}/{SLIM_NAMES.kernel}"
CLASS_HEAD = tuple(f"WeightSharedConvolutionalBoxPredictor/ClassPredictor/{kind}" for kind in ("weights", "biases"))
OWN_CLASSIFIER = "resnet50"
_NORMALIZATION = tuple(f"BatchNorm/{kind}" for kind in ("gamma", "beta", "moving_mean", "moving_variance"))


def detector_sources(stored: Iterable[str]) -> dict[str, str]:
    """The name in a checkpoint for each variable of a detector that it can give.

    A detector's own variables go by name; slim's ``resnet_v1_50`` and this project's ``resnet50`` give the backbone.

    Args:
        stored: All names in the checkpoint.
    """
    stored = set(stored)
    if is_own_classifier(stored):
        ours = _names(RESNETS[OWN_CLASSIFIER].names)
        slim = _names(SLIM_NAMES)
        pairs = zip(slim, ours, strict=True)
        return {f"{BACKBONE_SCOPE}/{to}": f"{OWN_CLASSIFIER}/{name}" for to, name in pairs}
    if any(name.startswith(f"{SLIM_SCOPE}/") for name in stored):
        return {f"{BACKBONE_SCOPE}/{name}": f"{SLIM_SCOPE}/{name}" for name in _names(SLIM_NAMES)}
    return {name: name for name in stored}


def is_own_classifier(stored: Iterable[str]) -> bool:
    """Whether the names are those of this project's ResNet-50, which expects images divided by their deviation."""
    return any(name.startswith(f"{OWN_CLASSIFIER}/") for name in stored)


def _names(names: ResNetNames) -> list[str]:
    """The 265 variables of a ResNet-50 without its classifier, always in the same order."""
    layers = [names.stem]
    for stage, blocks in enumerate(RESNETS[OWN_CLASSIFIER].blocks):
        for index in range(blocks):
            block = names.block_name(stage, index)
            layers += [f"{block}/{names.shortcut}"] * (index == 0)
            layers += [f"{block}/{name}" for name in names.convolutions]
    return [f"{layer}/{kind}" for layer in layers for kind in (names.kernel, *_NORMALIZATION)]
