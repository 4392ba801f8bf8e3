"""The weight of each class in the loss: from the counts of the training images, or from a file (no TF)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from utils.config import ExperimentConfig, resolved
from utils.errors import RunError, UsageError
from utils.files.file_kind import why_no_json
from utils.files.regular_file import read_regular
from utils.optimizer_config import BALANCED, UNWEIGHTED
from utils.records.label_index import split_labels
from utils.records.split_files import SplitFiles
from utils.suggestions import path_hint
from utils.text import first_few

FLAG = "--class_weights"
LARGEST = 1e6
_MOST_BYTES = 64 << 20
_SHOWN = 10
_Entry = tuple[int | str, Any]
"""A class, by its index or as written, and its weight."""


def balanced_weights(counts: np.ndarray) -> tuple[float, ...]:
    """Weights inversely proportional to the counts, ``[K]``, whose mean over the counted labels is 1.

    A class without images has the weight 1, which nothing uses.
    """
    present = counts > 0
    weights = np.where(present, counts.sum() / (max(1, present.sum()) * np.maximum(counts, 1)), 1.0)
    return tuple(weights.tolist())


def resolve_class_weights(
    config: ExperimentConfig, splits: Mapping[str, SplitFiles], *, keep: bool
) -> ExperimentConfig:
    """The configuration of a training with the weights that ``--class_weights`` asks for.

    Args:
        config: The resolved configuration.
        splits: Files by split.
        keep: Whether the labels of the records may be kept in files.

    Raises:
        RunError: The file or the records cannot be read.
        UsageError: The file does not give each class a weight.
    """
    asked, model = config.optimizer.class_weights, config.model
    if asked == UNWEIGHTED or not config.run.is_training:
        return config
    num_classes, offset = resolved(model, "num_classes"), resolved(model, "label_offset")
    if asked == BALANCED:
        labels = split_labels(
            splits["train"], offset=offset, num_classes=num_classes, several=model.multi_label, keep=keep
        )
        weights = balanced_weights(labels.counts(num_classes))
    else:
        weights = weights_of_file(asked, num_classes, model.class_names)
    return replace(config, optimizer=replace(config.optimizer, weight_of_class=weights))


def shown_weights(weights: Sequence[float], names: Sequence[str] | None) -> str:
    """The weights with the names of their classes, the heaviest first; of many, only some."""
    named = {n: names[n] if names and n < len(names) else str(n) for n in range(len(weights))}
    return first_few([f"{named[n]} {weights[n]:.3g}" for n in sorted(named, key=lambda n: -weights[n])], _SHOWN)


def weights_of_file(path: str, num_classes: int, names: Sequence[str] | None) -> tuple[float, ...]:
    """The weights in a file, used as they are: a JSON object or list, or lines of a class and its weight.

    A class is a name, or an index that counts from 0; a list or lines of single numbers name all classes in order.

    Raises:
        RunError: The file cannot be read.
        UsageError: It is not such a file, or does not give each class one weight.
    """
    try:
        text = read_regular(path, most=_MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        hint = path_hint(path) if isinstance(error, FileNotFoundError) else ""
        raise RunError(f"{FLAG} {path}: cannot be read ({error.strerror}){hint}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{FLAG} {path}: is not text; must be none, balanced, or a JSON or text file") from error
    entries = _of_json(path, text) if text.lstrip()[:1] in ("{", "[") else _of_lines(path, text)
    places = {str(n): n for n in range(num_classes)} | {name: n for n, name in enumerate(names or ())}
    weights: dict[int, float] = {}
    for key, value in entries:
        place = key if isinstance(key, int) else places.get(key)
        if place is None or place >= num_classes:
            known = first_few(list(names)) if names else f"0 to {num_classes - 1}"
            raise UsageError(f"{FLAG} {path}: {key!r} is no class; the classes are {known}")
        if place in weights:
            raise UsageError(f"{FLAG} {path}: gives the class {key!r} two weights")
        weights[place] = _weight(path, key, value)
    needed = num_classes if names is None else min(num_classes, len(names))  # a head may have more outputs
    lacking = [names[n] if names else str(n) for n in range(needed) if n not in weights]
    if lacking:
        raise UsageError(f"{FLAG} {path}: has no weight for {first_few(lacking)}; each class needs one")
    return tuple(weights.get(n, 1.0) for n in range(num_classes))


def _of_json(path: str, text: str) -> list[_Entry]:
    try:
        content = json.loads(text, object_pairs_hook=tuple)  # keeps keys that come twice
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{FLAG} {path}: {why_no_json(text, error)}") from error
    return list(enumerate(content)) if isinstance(content, list) else list(content)


def _of_lines(path: str, text: str) -> list[_Entry]:
    lines = [line.strip() for line in text.splitlines()]
    split = [re.split(r"[\s,]+(?=\S+$)", line) for line in lines if line and not line.startswith("#")]
    if all(len(parts) == 1 for parts in split):
        return [(number, _number(path, parts[0])) for number, parts in enumerate(split)]
    for parts in split:
        if len(parts) == 1:
            raise UsageError(f"{FLAG} {path}: the line {parts[0]!r} must be a class and its weight, as others are")
    return [(name, _number(path, value)) for name, value in split]


def _number(path: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{FLAG} {path}: {text!r} is no number; must be a weight") from None


def _weight(path: str, name: int | str, value: Any) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not math.isfinite(value) or not 0 < value <= LARGEST:
        raise UsageError(f"{FLAG} {path}: the weight of {name!r} is {value}; must be above 0 and at most {LARGEST:g}")
    return float(value)
