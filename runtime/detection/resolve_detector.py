"""Resolves missing options of a detector from checkpoint, label map, data or defaults (no TF)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from model.specs import QuantizationSpec
from runtime.resolve_quantization import resolve_quantization
from utils.config import MOST_CLASSES, ModelConfig
from utils.detection_config import NORMS, STRETCH, AnchorSpec, BoxCoderSpec, DetectionConfig, HeadSpec
from utils.errors import UsageError
from utils.image_sizes import ImageSize, Sides, sides_of, size_of_json, size_of_sides
from utils.input.augmentation_specs import RotateSpec

DEFAULT_IMAGE_SIZE = 320
DEFAULT_BACKBONE = "resnet_v1_50"
SIZE_MULTIPLE, SMALLEST_SIZE = 32, 64
Spec = TypeVar("Spec", AnchorSpec, BoxCoderSpec)


class Categories(NamedTuple):
    """Categories in the order of their ids, with their origin for messages.

    Attributes:
        ids: Category ids, ascending.
        names: Display names.
        aliases: Alternative names in records; empty if there are none.
        origin: Source of the categories, in words.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    aliases: tuple[str, ...]
    origin: str


def stored_categories(metadata: Mapping[str, Any]) -> Categories | None:
    """The categories in the description of a checkpoint."""
    if "category_ids" not in metadata:
        return None
    names = tuple(metadata["class_names"])
    aliases = tuple(metadata.get("data_class_names") or ())
    return Categories(tuple(metadata["category_ids"]), names, aliases, "the checkpoint")


def numbered_categories(count: int) -> Categories:
    """Categories numbered up to the largest id, if nothing else is known."""
    ids = tuple(range(1, count + 1))
    return Categories(ids, tuple(str(number) for number in ids), (), f"--num_classes {count}")


def resolve_detector(
    model: ModelConfig,
    detection: DetectionConfig,
    metadata: Mapping[str, Any],
    sources: Sequence[Categories],
    backbone: str | None,
    norm: str | None = None,
) -> tuple[ModelConfig, DetectionConfig, tuple[str, ...]]:
    """Fills in the fields that are None, and takes over the options that the checkpoint's weights were trained with.

    Args:
        model: The options as given.
        detection: The options as given.
        metadata: The description of the checkpoint that the run starts from; empty without one.
        sources: Categories from all known sources, the most important first; at least one.
        backbone: The backbone of the weights for a warm start; None without such weights or if they have another use.
        norm: The normalization of the detector for a warm start; None without one.

    Returns:
        Both configurations, complete, and sentences for the log.

    Raises:
        UsageError: Flags, data and checkpoint contradict each other.
    """
    categories = _agreed(sources)
    notes: list[str] = []
    size = _image_size(model.image_size, metadata, notes)
    detection = replace(_resolve_options(detection, metadata), norm=_norm(detection.norm, metadata, norm))
    count = _count_categories if detection.exact_classes else _largest_id
    resolved = replace(
        model,
        num_classes=count(model.num_classes, metadata.get("num_classes"), categories),
        image_size=size,
        label_offset=0,
        category_ids=categories.ids,
        class_names=categories.names,
        data_class_names=categories.aliases or None,
        backbone=_backbone(model.backbone, metadata, backbone),
        quantization=_quantization(model.quantization, metadata, detection.norm),
    )
    return resolved, detection, tuple(notes)


def check_turns(model: ModelConfig, detection: DetectionConfig) -> None:
    """Checks that training images keep their height and width if they are turned by a quarter.

    Raises:
        UsageError: They would not.
    """
    size = model.image_size
    if isinstance(size, Sides) and detection.augment.rotate90:
        raise UsageError(f"--rotate90: turns images by quarters, so they must be square; --image_size is {size}")
    if isinstance(size, Sides) and any(isinstance(step, RotateSpec) for step in detection.augmentation):
        raise UsageError(
            "random_rotation90: turns images by quarters, so they must be square; model.ssd.image_resizer asks for "
            f"{size}"
        )


def _image_size(given: ImageSize | None, metadata: Mapping[str, Any], notes: list[str]) -> ImageSize:
    """The given size, else the checkpoint's, else the default.

    Raises:
        UsageError: A side does not suit the pyramid.
    """
    stored = size_of_json(metadata.get("image_size"))
    size = given or stored or DEFAULT_IMAGE_SIZE
    if stored and stored != size:
        notes.append(f"--image_size {size} is used; the checkpoint was trained at {stored}")
    steps = [side / SIZE_MULTIPLE for side in sides_of(size)]
    below, above = (
        size_of_sides(*(max(round_(step) * SIZE_MULTIPLE, SMALLEST_SIZE) for step in steps))
        for round_ in (math.floor, math.ceil)
    )
    if size not in (below, above):
        nearest = f"the nearest are {below} and {above}" if below != above else f"the nearest is {below}"
        raise UsageError(
            f"--image_size {size}: {'each side ' * isinstance(size, tuple)}must be a multiple of {SIZE_MULTIPLE} and "
            f"at least {SMALLEST_SIZE} for a detector, so that each level of its pyramid is half of the one below; "
            f"{nearest}"
        )
    return size


def _agreed(sources: Sequence[Categories]) -> Categories:
    """The categories of the most important source.

    Raises:
        UsageError: Another source contradicts it.
    """
    categories = sources[0]
    for other in sources[1:]:
        if difference := disagreement(categories, other):
            raise UsageError(f"{difference} (--label_map, --model_dir)")
    return categories


def _quantization(
    given: QuantizationSpec | None, metadata: Mapping[str, Any], norm: str | None
) -> QuantizationSpec | None:
    """The quantization of the weights, else the given one.

    Raises:
        UsageError: They differ, or the normalization cannot be quantized.
    """
    found = resolve_quantization(given, metadata)
    if norm == "group" and found is not None:
        raise UsageError(
            "--quantize: rounds kernels with batch normalization folded in, which a detector with --norm group lacks "
            "in its pyramid and heads; leave one of them out"
        )
    return found


def _backbone(given: str | None, metadata: Mapping[str, Any], warm_start: str | None) -> str:
    """The backbone of the weights, else the given one.

    Raises:
        UsageError: They differ.
    """
    stored = (metadata.get("backbone") or DEFAULT_BACKBONE) if metadata else warm_start
    if given is not None and stored is not None and given != stored:
        whose = "the checkpoint was trained with" if metadata else "the weights of --finetune_checkpoint are those of"
        other = "name another folder" if metadata else "name other weights"
        raise UsageError(f"--backbone {given}: {whose} {stored}; leave --backbone out or {other}")
    return str(stored or given or DEFAULT_BACKBONE)


def stored_norm(metadata: Mapping[str, Any]) -> str:
    """The normalization of pyramid and heads in the description of a detector."""
    return str(metadata.get("norm") or NORMS[0])


def _norm(given: str | None, metadata: Mapping[str, Any], warm_start: str | None) -> str | None:
    """The normalization of the weights, else the given one; None for batch normalization as the default.

    Raises:
        UsageError: They differ.
    """
    stored = stored_norm(metadata) if metadata else warm_start
    if given is not None and stored is not None and given != stored:
        whose = "the checkpoint was" if metadata else "the detector of --finetune_checkpoint was"
        other = "name another folder" if metadata else "name other weights"
        raise UsageError(f"--norm {given}: {whose} trained with {stored}; leave --norm out or {other}")
    found = stored or given
    return None if given is None and found == NORMS[0] else found


def disagreement(categories: Categories, other: Categories) -> str | None:
    """A sentence about the first category of ``other`` that is missing here or has another name, or None."""
    names = dict(zip(categories.ids, categories.names, strict=True))
    aliases = dict(zip(categories.ids, categories.aliases, strict=False))
    for category, name in zip(other.ids, other.names, strict=True):
        if category not in names:
            return (
                f"{other.origin}: has category {category}, {name!r}; {categories.origin} has no such category "
                f"({len(names)} from {categories.ids[0]} to {categories.ids[-1]})"
            )
        if name not in (names[category], aliases.get(category)):
            return (
                f"{other.origin}: category {category} is {name!r}; in {categories.origin} it is "
                f"{names[category]!r}, so the same id would mean another class"
            )
    return None


def _count_categories(given: int | None, stored: int | None, categories: Categories) -> int:
    """The number of class slots with one slot per category."""
    count = len(categories.ids)
    for number, origin in ((given, "--num_classes"), (stored, "the checkpoint's num_classes")):
        if number not in (None, count):
            raise UsageError(
                f"{origin} {number}: {categories.origin} has {count} categories, and with --exact_classes a detector "
                "has a class slot for each of them; leave --num_classes out"
            )
    return count


def _largest_id(given: int | None, stored: int | None, categories: Categories) -> int:
    """The largest id with a class slot: that of the data, or a larger one on request."""
    largest = max(1, categories.ids[-1])
    if largest > MOST_CLASSES:
        raise UsageError(
            f"{categories.origin}: its largest category id is {largest}, and a detector has a class slot for each id "
            f"up to that, but at most {MOST_CLASSES}; --exact_classes has one slot per category instead"
        )
    if given is not None and stored is not None and given != stored:
        raise UsageError(
            f"--num_classes {given}: the checkpoint has {stored}; leave --num_classes out or name another --model_dir"
        )
    count = given or stored or largest
    if count < largest:
        raise UsageError(
            f"--num_classes {count}: the largest category id of {categories.origin} is {largest}, and a detector has a "
            "class slot for each id up to --num_classes"
        )
    return int(count)


def _resolve_options(detection: DetectionConfig, metadata: Mapping[str, Any]) -> DetectionConfig:
    """Takes over the options that the weights were trained with; rejects contradictions."""
    exact = bool(metadata.get("exact_classes", detection.exact_classes))
    if detection.exact_classes and not exact:
        raise UsageError("--exact_classes: the checkpoint was trained without it; leave it out or name another folder")
    anchors = _stored("anchors", AnchorSpec, detection.anchors, metadata)
    if detection.anchors.centred and not anchors.centred:
        raise UsageError("--centred_p7: the checkpoint was trained without it; leave it out or name another folder")
    given = detection.anchors.single
    if "anchors" in metadata and given is not None and given != bool(anchors.single):
        raise UsageError(
            f"--anchors_per_cell {detection.anchors.per_cell}: the checkpoint was trained with {anchors.per_cell}; "
            "leave it out or name another folder"
        )
    unclamped = replace(detection.coder, largest_log=None)
    coder = _stored("coder", BoxCoderSpec, unclamped, metadata)
    coder = replace(coder, largest_log=detection.coder.largest_log)
    heads, resize = _heads(detection.heads, metadata), _resize(detection.resize, metadata)
    return replace(detection, exact_classes=exact, anchors=anchors, coder=coder, heads=heads, resize=resize)


def _heads(given: HeadSpec, metadata: Mapping[str, Any]) -> HeadSpec:
    """The heads of the checkpoint, else the given ones.

    Raises:
        UsageError: The checkpoint lacks a given one.
    """
    if not metadata:
        return given
    stored = HeadSpec(**metadata.get("heads", {}))
    for flag, asked, there in (
        ("distribution_focal", given.distribution, stored.distribution),
        ("centerness", given.centerness, stored.centerness),
    ):
        if asked and not there:
            raise UsageError(
                f"--{flag}: asks for a head that the checkpoint was trained without; leave it out, name another "
                "folder, or start a new run from the weights with --finetune_checkpoint"
            )
    return stored


def _resize(given: str | None, metadata: Mapping[str, Any]) -> str | None:
    """The checkpoint's way to fit pictures into the input, else the given one; older checkpoints stretch.

    Raises:
        UsageError: They differ.
    """
    stored = metadata.get("resize", STRETCH) if metadata else None
    if given is not None and stored not in (None, given):
        raise UsageError(
            f"--resize {given}: the checkpoint was trained with {stored}; leave it out or name another folder"
        )
    return stored or given


def _stored(name: str, kind: type[Spec], given: Spec, metadata: Mapping[str, Any]) -> Spec:
    """The checkpoint's constants; given constants have to equal them unless they are the defaults.

    Raises:
        UsageError: They differ, so the same network outputs would mean other boxes.
    """
    if name not in metadata:
        return given
    stored_fields: Mapping[str, Any] = metadata[name]
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored_fields.items()}
    stored = kind(**fields)
    usual = {key for key in fields if getattr(given, key) == getattr(kind(), key) or key in ("centred", "single")}
    for key in fields.keys() - usual:
        if getattr(given, key) != fields[key]:
            raise UsageError(
                f"{name}.{key} {getattr(given, key)}: the checkpoint was trained with {fields[key]}; the same codes "
                "would mean other boxes"
            )
    return stored
