"""Resolves missing options of a classifier from checkpoint, data or defaults. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runtime.resolve_quantization import resolve_quantization
from utils.config import ModelConfig
from utils.errors import UsageError
from utils.image_sizes import EVAL_CROP, ImageSize, Sides
from utils.records.manifest import IMAGENET_CLASSES, IMAGENET_HEAD, LABEL_OFFSET, Manifest

DEFAULT_ARCHITECTURE = "resnet50"
DEFAULT_IMAGE_SIZE = 224


def resolve_model(
    model: ModelConfig,
    manifest: Manifest | None,
    metadata: Mapping[str, Any] | None,
    file_names: tuple[str, ...] | None,
) -> tuple[ModelConfig, tuple[str, ...]]:
    """Fills in the fields of ``model`` that are None: from the checkpoint, else the data, else the defaults.

    Args:
        model: The options as given.
        manifest: The manifest of the data; None without data or without a dataset.json.
        metadata: The description of the checkpoint, by field names of ``ModelConfig``; None without a checkpoint.
        file_names: The names in the file of --class_names, or None.

    Returns:
        The model with known architecture, class count, image size and label offset, and sentences for the log.

    Raises:
        UsageError: Flags, data and checkpoint contradict each other; the message names the flag and both values.
    """
    stored = {} if metadata is None else metadata
    notes: list[str] = []
    architecture = _architecture(model.architecture, stored)
    num_classes = _num_classes(model.num_classes, manifest, stored)
    label_offset = _label_offset(model.label_offset, manifest, stored)
    image_size = _image_size(model.image_size, stored, notes)
    data_names = _data_class_names(manifest, stored, file_names)
    names = _class_names(num_classes, manifest, stored, file_names, notes)
    resolved = replace(
        model,
        architecture=architecture,
        num_classes=num_classes,
        image_size=image_size,
        eval_crop=_eval_crop(model.eval_crop, stored, notes),
        label_offset=label_offset,
        use_final_conv=model.use_final_conv or bool(stored.get("use_final_conv")),
        class_names=names,
        data_class_names=data_names,
        quantization=resolve_quantization(model.quantization, stored),
    )
    return resolved, tuple(notes)


def _architecture(given: str | None, stored: Mapping[str, Any]) -> str:
    in_checkpoint = stored.get("architecture")
    if given is not None and in_checkpoint is not None and given != in_checkpoint:
        raise UsageError(
            f"--arch {given}: the checkpoint holds {in_checkpoint}; leave --arch out or name another --model_dir"
        )
    return str(given or in_checkpoint or DEFAULT_ARCHITECTURE)


def _num_classes(given: int | None, manifest: Manifest | None, stored: Mapping[str, Any]) -> int:
    in_checkpoint = stored.get("num_classes")
    if given is not None and in_checkpoint is not None and given != in_checkpoint:
        raise UsageError(
            f"--num_classes {given}: the checkpoint has {in_checkpoint} classes; leave --num_classes out or name "
            "another --model_dir"
        )
    count = given or in_checkpoint or (manifest.head_size if manifest else IMAGENET_HEAD)
    if manifest is not None and manifest.class_count > count:
        holder = f"--num_classes {given}" if in_checkpoint is None else f"the checkpoint's {count} classes"
        raise UsageError(f"--data_dir: the data has {manifest.class_count} classes, more than {holder}")
    return int(count)


def _label_offset(given: int | None, manifest: Manifest | None, stored: Mapping[str, Any]) -> int:
    in_checkpoint = stored.get("label_offset")
    in_data = manifest.label_offset if manifest else given
    if in_data is not None and in_checkpoint is not None and in_data != in_checkpoint:
        raise UsageError(
            f"--data_dir: labels start at {in_data} in the data, but at {in_checkpoint} in the checkpoint; the same "
            "label would mean another class"
        )
    known = in_data if in_data is not None else in_checkpoint
    return LABEL_OFFSET if known is None else int(known)


def _image_size(given: ImageSize | None, stored: Mapping[str, Any], notes: list[str]) -> int:
    """The given size, else the checkpoint's, else the default.

    Raises:
        UsageError: It is not square.
    """
    in_checkpoint = stored.get("image_size")
    if isinstance(given, Sides):
        raise UsageError(f"--image_size {given}: the images of a classifier are square; give one number")
    if given is not None and in_checkpoint is not None and given != in_checkpoint:
        notes.append(f"--image_size {given} is used; the checkpoint was trained at {in_checkpoint}")
    return int(given or in_checkpoint or DEFAULT_IMAGE_SIZE)


def _eval_crop(given: float | None, stored: Mapping[str, Any], notes: list[str]) -> float | None:
    """The crop of evaluation; None for the usual one."""
    in_checkpoint = stored.get("eval_crop")
    if given is not None and stored and given != (in_checkpoint or EVAL_CROP):
        notes.append(f"--eval_crop {given:g} is used; the checkpoint has {in_checkpoint or EVAL_CROP:g}")
    return given or in_checkpoint


def _data_class_names(
    manifest: Manifest | None, stored: Mapping[str, Any], file_names: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """The class names of the data; checks that label i of the data is class i of the checkpoint.

    Data may lack the last classes or have more than were named. If a checkpoint does not store the data's names
    separately, its own names count as those of the data unless --class_names replaces them.
    """
    in_checkpoint = tuple(stored.get("data_class_names") or ())
    in_data = manifest.class_names if manifest else ()
    expected = in_checkpoint or tuple((not file_names and stored.get("class_names")) or ())
    for index, (ours, theirs) in enumerate(zip(in_data, expected, strict=False)):
        if ours != theirs:
            raise UsageError(
                f"--data_dir: class {index} is {ours!r} in the data, but {theirs!r} in the checkpoint; the same label "
                "would mean another class"
            )
    return max(in_checkpoint, in_data, key=len) or None


def _class_names(
    num_classes: int,
    manifest: Manifest | None,
    stored: Mapping[str, Any],
    file_names: tuple[str, ...] | None,
    notes: list[str],
) -> tuple[str, ...] | None:
    in_checkpoint = tuple(stored.get("class_names") or ())
    in_data = manifest.class_names if manifest else ()
    if file_names is None:
        extended = in_data[: len(in_checkpoint)] == in_checkpoint
        return (in_data if extended else in_checkpoint) or None
    class_count = manifest.class_count if manifest else len(in_checkpoint)
    allowed = {class_count or num_classes, num_classes}
    if num_classes == IMAGENET_HEAD and not class_count:
        allowed.add(IMAGENET_CLASSES)
    if len(file_names) not in allowed:
        counts = " or ".join(str(count) for count in sorted(allowed))
        raise UsageError(f"--class_names: the file has {len(file_names)} names; must be {counts}, one for each class")
    if in_checkpoint and in_checkpoint != file_names:
        notes.append("the names of --class_names replace the checkpoint's")
    return file_names
