"""Variable names in other programs' checkpoints, and the network that stored names belong to (no TF)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from model.specs import BACKBONES, BOX_BINS, CODE_SIZE, RESNETS, SLIM_NAMES, SSD_NAMES, SSDS, ResNetSpec
from model.variables import GROUP_NORM, backbone_variables, classifier_variables, detector_variables

SLIM_SCOPE = "resnet_v1_50"
OWN_CLASSIFIER = "resnet50"
DETECTOR = "ssd320"
NVIDIA_CLASSIFIERS = ("resnet50", "resnext101-32x4d", "se-resnext101-32x4d")
"""The classifiers of NVIDIA's TensorFlow 1 program."""
_USUAL_ANCHORS = 6
_TORCH_STATISTICS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_CADENE = (("conv1.", "layer0.conv1."), ("bn1.", "layer0.bn1."), ("fc.", "last_linear."))


def classifier_sources(stored: Iterable[str], architecture: str, slots: Iterable[str]) -> dict[str, str]:
    """Maps each classifier variable that a TensorFlow checkpoint holds to its name there, slots included.

    NVIDIA's TensorFlow 1 networks have the names of this project; slim's ``resnet_v1_50`` becomes a resnet50.

    Args:
        stored: All names in the checkpoint.
        architecture: The classifier.
        slots: Names of the slots that an optimizer may keep for a variable.
    """
    stored, kinds = set(stored), ("", *(f"/{slot}" for slot in slots))
    sources = {name: name for name in stored}
    if architecture == OWN_CLASSIFIER and is_slim(stored) and own_classifier(stored) != OWN_CLASSIFIER:
        for ours, theirs in _slim_names().items():
            sources |= {ours + kind: theirs + kind for kind in kinds if theirs + kind in stored}
    return sources


def own_classifier(stored: Iterable[str]) -> str | None:
    """Returns the classifier of this project that the names belong to, or None."""
    roots = {name.partition("/")[0] for name in stored if "/" in name}
    return next((name for name in RESNETS if name in roots), None)


def is_slim(stored: Iterable[str]) -> bool:
    """Returns whether the names are those of slim's ResNet-50."""
    return any(name.startswith(f"{SLIM_SCOPE}/") for name in stored)


def backbone_pairs(ours: ResNetSpec) -> list[tuple[str, str]]:
    """Pairs the names of a network's convolutional part, without its scope, with slim's."""
    slim = backbone_variables(replace(ours, names=SLIM_NAMES))
    return list(zip(backbone_variables(ours), slim, strict=True))


def _slim_names() -> dict[str, str]:
    names = {f"{OWN_CLASSIFIER}/{our}": f"{SLIM_SCOPE}/{slim}" for our, slim in backbone_pairs(RESNETS[OWN_CLASSIFIER])}
    dense, logits = f"{OWN_CLASSIFIER}/output/dense", f"{SLIM_SCOPE}/logits"
    return names | {f"{dense}/kernel": f"{logits}/weights", f"{dense}/bias": f"{logits}/biases"}


def describe(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Describes a TensorFlow checkpoint by its variable names and shapes, for one that has no description file.

    Returns:
        The keys of this project's description files: "task", "architecture" and, if the classifier is stored,
        "num_classes"; "origin" ("nvidia", "own", "slim" or "detection"); "norm" of a detector if it is "group", and
        "anchors" if it has one on each cell; "has_ranges" after quantization-aware training of any kind. Empty if the
        network is unknown.
    """
    found = _network_of(shapes)
    if found and any("_quant/" in name for name in shapes):
        found["has_ranges"] = True
    return found


def _network_of(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    for name, spec in RESNETS.items():
        if f"{name}/{spec.names.stem}/{spec.names.kernel}" in shapes:
            origin = "nvidia" if name in NVIDIA_CLASSIFIERS else "own"
            return _classifier(origin, name, shapes.get(f"{name}/output/dense/kernel"))
    if f"{SLIM_SCOPE}/{SLIM_NAMES.stem}/{SLIM_NAMES.kernel}" in shapes:
        return _classifier("slim", OWN_CLASSIFIER, shapes.get(f"{SLIM_SCOPE}/logits/weights"))
    kernel = shapes.get(f"{SSD_NAMES.predictor}/{SSD_NAMES.class_head}/weights")
    backbone = next((name for name, row in BACKBONES.items() if stem_kernel(row) in shapes), None)
    if backbone is not None and kernel is not None:
        anchors = anchors_per_cell(shapes)
        slots, rest = divmod(int(kernel[-1]), anchors)
        if slots > 1 and not rest:
            found = {"task": "detection", "architecture": DETECTOR, "num_classes": slots - 1, "backbone": backbone}
            if any(f"/{GROUP_NORM}/" in name for name in shapes):
                found["norm"] = "group"
            if anchors == 1:
                found["anchors"] = {"single": True}
            return found | _heads(shapes) | {"origin": "detection"}
    return {}


def anchors_per_cell(shapes: Mapping[str, Sequence[int]]) -> int:
    """Returns the number of anchors on each cell of a detector, by the filters that predict its boxes."""
    heads = {SSD_NAMES.box_head: CODE_SIZE, SSD_NAMES.distribution_head: CODE_SIZE * BOX_BINS}
    for scope, numbers in heads.items():
        if kernel := shapes.get(f"{SSD_NAMES.predictor}/{scope}/weights"):
            return max(1, int(kernel[-1]) // numbers)
    return _USUAL_ANCHORS


def _heads(shapes: Collection[str]) -> dict[str, Any]:
    """Returns the entry "heads" of a detector with further heads than those of codes and classes."""
    scopes = {"distribution": SSD_NAMES.distribution_head, "centerness": SSD_NAMES.centerness_head}
    heads = {kind: f"{SSD_NAMES.predictor}/{scope}/weights" in shapes for kind, scope in scopes.items()}
    return {"heads": heads} if any(heads.values()) else {}


def stem_kernel(backbone: ResNetSpec) -> str:
    """Returns the name of a detector's first kernel."""
    return f"{SSD_NAMES.features}/{backbone.name}/{backbone.names.stem}/{backbone.names.kernel}"


def _classifier(origin: str, architecture: str, kernel: Sequence[int] | None) -> dict[str, Any]:
    found = {"task": "classification", "architecture": architecture, "origin": origin}
    return found if kernel is None else found | {"num_classes": int(kernel[-1])}


def variables_of(
    architecture: str,
    num_classes: int,
    backbone: str | None = None,
    norm: str | None = None,
    heads: Mapping[str, bool] | None = None,
    anchors: int = _USUAL_ANCHORS,
) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of a whole network.

    Args:
        architecture: The network.
        num_classes: The number of classes, or the largest category id of a detector.
        backbone: A row of ``BACKBONES``, for detectors; None means the usual one.
        norm: Normalization of a detector's pyramid and heads, "batch" or "group"; None means "batch".
        heads: Further heads of a detector, "distribution" and "centerness", and whether it has them.
        anchors: Number of anchors on each cell of a detector.
    """
    if architecture in SSDS:
        built: dict[str, Any] = {"norm": norm or "batch", **(heads or {})}
        spec = replace(SSDS[architecture], **built)
        spec = spec if backbone is None else spec.with_backbone(BACKBONES[backbone])
        return detector_variables(spec, anchors, num_classes + 1)
    return classifier_variables(RESNETS[architecture], num_classes)


def torch_sources(architecture: str, names: Collection[str]) -> dict[str, str]:
    """Maps each variable of a classifier to its name in a PyTorch state, whether the state holds it or not.

    torchvision and timm share one naming; ``pretrainedmodels`` (timm's ``legacy_seresnext``) has its own.
    """
    usual = _torch_names(RESNETS[architecture])
    older = {name: _cadene_name(theirs) for name, theirs in usual.items()}
    return max(usual, older, key=lambda naming: len(set(naming.values()) & set(names)))


def torch_origin(names: Collection[str]) -> str:
    """Returns the origin of a PyTorch state, "torch" or "cadene"; the latter pools as TensorFlow's SAME does."""
    return "cadene" if "layer0.conv1.weight" in names else "torch"


def _torch_names(spec: ResNetSpec) -> dict[str, str]:
    """Maps each variable of a classifier to its name in torchvision and timm."""
    modules = _torch_modules(spec)
    found = {}
    for variable in classifier_variables(spec, 1):
        scope, _, kind = variable.removeprefix(f"{spec.name}/").rpartition("/")
        while scope not in modules:
            scope = scope.rpartition("/")[0]
        module, norm = modules[scope]
        if kind in _TORCH_STATISTICS:
            found[variable] = f"{norm}.{_TORCH_STATISTICS[kind]}"
        else:
            found[variable] = f"{module}.{'bias' if kind == 'bias' else 'weight'}"
    return found


def _torch_modules(spec: ResNetSpec) -> dict[str, tuple[str, str]]:
    """Maps each scope that owns variables to its PyTorch modules: the layer and its batch normalization, if any."""
    names = spec.names
    found = {names.stem: ("conv1", "bn1"), "output/dense": ("fc", "")}
    for stage, blocks in enumerate(spec.blocks):
        for index in range(blocks):
            ours, theirs = names.block_name(stage, index), f"layer{stage + 1}.{index}"
            found[f"{ours}/{names.shortcut}"] = (f"{theirs}.downsample.0", f"{theirs}.downsample.1")
            for number, name in enumerate(names.convolutions, 1):
                found[f"{ours}/{name}"] = (f"{theirs}.conv{number}", f"{theirs}.bn{number}")
            for number, name in enumerate(("dense", "dense_1"), 1):
                found[f"{ours}/{names.squeeze}/{name}"] = (f"{theirs}.se.fc{number}", "")
    return found


def _cadene_name(name: str) -> str:
    for usual, older in _CADENE:
        if name.startswith(usual):
            return older + name.removeprefix(usual)
    return name.replace(".se.", ".se_module.")
