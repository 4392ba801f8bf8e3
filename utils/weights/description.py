"""Reads and checks the description of weights, JSON beside a checkpoint or inside an artefact (no TF)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.specs import BACKBONES, RESNETS, SSDS, QuantizationSpec
from utils.detection_config import NORMS, RESIZES, AnchorSpec, BoxCoderSpec, HeadSpec
from utils.errors import RunError
from utils.files.file_kind import why_no_json
from utils.files.json_values import shortened, typed, typed_list
from utils.suggestions import hint

PREFIX = "model.ckpt"
"""Name of this project's checkpoints, followed by the step."""
_TEXTS = ("eval_weights", "optimizer", "schedule")
_CHOICES = {
    "task": ("classification", "detection"),
    "architecture": (*RESNETS, *SSDS),
    "backbone": tuple(BACKBONES),
    "norm": NORMS,
    "resize": RESIZES,
}
_NUMBERS = {"num_classes": 1, "label_offset": 0, "step": 0, "total_steps": 0, "global_batch": 1}
_LISTS = {"class_names": str, "data_class_names": str, "category_ids": int}
_OBJECTS = ("preprocessing", "network", "evaluation", "tuning", "artefact", "convolutions")
_FIELDS = {"quantization": QuantizationSpec, "anchors": AnchorSpec, "coder": BoxCoderSpec, "heads": HeadSpec}
_PRECISIONS = ("float32", "float16", "bfloat16", "int8")
_PLACES = {"position": ("epoch", "example"), "best": ("step", "value", "evaluations_since")}


def has_description(place: str) -> bool:
    """Returns whether a checkpoint (by its prefix) or any checkpoint in a folder has a description beside it."""
    return Path(f"{place}.json").is_file() or any(Path(place).glob(f"{PREFIX}-*.json"))


def parse_description(text: bytes | str, where: object) -> dict[str, Any]:
    """Parses and checks a description; unknown keys are kept unchanged.

    Args:
        text: The JSON text.
        where: The file for messages.

    Raises:
        RunError: The text is not a JSON object, or one of its values is invalid.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:  # also if it is not UTF-8
        raise RunError(f"{where}: {why_no_json(text, error)}; the meaning of the weights is unknown") from error
    if not isinstance(found, dict):
        raise RunError(f"{where}: holds no JSON object; the meaning of the weights is unknown")
    try:
        _check(found)
    except ValueError as error:
        raise RunError(f"{where}: {error}; the description of the weights is damaged") from error
    return found


def _check(found: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` for the first invalid value."""
    for key in _TEXTS:
        typed(found, key, str, optional=True)
    for key, choices in _CHOICES.items():
        if typed(found, key, str, optional=True) not in (None, *choices):
            close = hint(found[key], choices)
            raise ValueError(f'"{key}" is {shortened(found[key])}, and must be one of {", ".join(choices)}{close}')
    for key, least in _NUMBERS.items():
        typed(found, key, int, optional=True, least=least)
    _check_image_size(found)
    if "seed" in found:
        typed(found, "seed", int)
    for key, kind in _LISTS.items():
        if found.get(key) is not None:
            typed_list(found, key, kind)
    for key in _OBJECTS:
        typed(found, key, dict, optional=True)
    for key in found.get("convolutions") or ():
        typed_list(found["convolutions"], key, str)
    if not isinstance(found.get("multi_label", False), bool):
        raise ValueError(f'"multi_label" is {shortened(found["multi_label"])}, and must be true or false')
    precision = stored_precision(found)
    if precision not in _PRECISIONS:
        raise ValueError(f'"precision" is {shortened(precision)}, and must be one of {", ".join(_PRECISIONS)}')
    for key, fields in _PLACES.items():
        place = typed(found, key, dict, optional=True)
        for field in fields if place is not None else ():
            typed(place, field, float if field == "value" else int)
    for key, spec in _FIELDS.items():
        _check_fields(found, key, spec)
    if "category_ids" in found and len(found["category_ids"]) != len(found.get("class_names") or ()):
        raise ValueError(f'"category_ids" has {len(found["category_ids"])} ids, and must have as many as "class_names"')


def _check_image_size(found: Mapping[str, Any]) -> None:
    """Checks a size: a number, or for a detector a list of height and width."""
    size = found.get("image_size")
    if not isinstance(size, list) or found.get("task") == "classification":
        typed(found, "image_size", int, optional=True, least=1)
    elif len(size) != 2 or min(typed_list(found, "image_size", int)) < 1:
        raise ValueError(f'"image_size" is {shortened(size)}, and must be a height and a width of 1 or more')


def stored_precision(metadata: Mapping[str, Any]) -> str:
    """The compute type of an artefact with this description."""
    return str((metadata.get("artefact") or {}).get("precision", _PRECISIONS[0]))


def _check_fields(found: Mapping[str, Any], key: str, spec: Any) -> None:
    """Checks that an object has only fields of a dataclass, each of the kind of its default."""
    given = typed(found, key, dict, optional=True)
    defaults = {field.name: field.default for field in dataclasses.fields(spec)}
    for name, value in (given or {}).items():
        if name not in defaults:
            raise ValueError(f'"{key}" contains {shortened(name)}, and must contain only {", ".join(defaults)}')
        default = defaults[name]
        if isinstance(default, bool) and not isinstance(value, bool):
            raise ValueError(f'"{name}" of "{key}" is {shortened(value)}, and must be true or false')
        if isinstance(default, int | float) and not isinstance(default, bool):
            typed(given, name, float if isinstance(default, float) else int)
        if isinstance(default, tuple):
            typed_list(given, name, float)
