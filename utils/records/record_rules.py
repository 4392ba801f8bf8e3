"""The rules for the features of a record: one table for TensorFlow's parser and for descriptions of faults (no TF).

A task states the features that it reads as a ``Schema``. Training and evaluation parse records by it
(``utils.input.record_parsing``); validation, inspection and error messages check records by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from utils.images.stored_images import fault_of_stored_image
from utils.records.example_proto import Feature, decode_example
from utils.text import first_few

IMAGE_KEY = "image/encoded"
BOX_KEYS = tuple(f"image/object/bbox/{side}" for side in ("ymin", "xmin", "ymax", "xmax"))
_WORDS: dict[type, str] = {bytes: "text or bytes", int: "integers", float: "floats"}

Features = Mapping[str, Feature]


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """One feature as a task reads it.

    Attributes:
        kind: ``bytes``, ``int`` or ``float``.
        default: The value of a record without the feature; None for a list, which may be empty.
    """

    kind: type
    default: bytes | int | None = None


Schema = Mapping[str, FeatureSpec]


class RecordFault(NamedTuple):
    """A fault of a record.

    Attributes:
        kind: The kind of finding as in ``tools.validate.findings``.
        text: The fault, about the record: "has no label (image/class/label)".
    """

    kind: str
    text: str


def fault_of_types(features: Features, schema: Schema) -> tuple[str, str] | None:
    """The key and a description of the first feature that TensorFlow's parser refuses; None if there is none."""
    for key, spec in schema.items():
        found = features.get(key)
        if found is None or found.kind is None:
            continue
        if found.kind is not spec.kind:
            return key, f"{key} holds {_WORDS[found.kind]}, and must hold {_WORDS[spec.kind]}"
        if spec.default is not None and len(found) != 1:
            return key, f"{key} holds {len(found)} values, and must hold one"
    return None


def absence(features: Features, schema: Schema, key: str, what: str) -> str:
    """Describes a record without a feature; names its keys if it has none that the task reads."""
    others = "" if schema.keys() & features.keys() else f"; its keys are {first_few(sorted(features)) or 'none'}"
    return f"has no {what} ({key}){others}"


def uneven_lists(features: Features, needed: Sequence[str], optional: Sequence[str] = ()) -> str:
    """Describes lists that differ in length; an optional one may be empty. Empty if there are none."""
    lengths = {key: len(features.get(key, ())) for key in (*needed, *optional)}
    lengths = {key: length for key, length in lengths.items() if length or key in needed}
    if len(set(lengths.values())) <= 1:
        return ""
    return f"its lists differ in length: {', '.join(f'{key} has {length}' for key, length in lengths.items())}"


def image_of(features: Features) -> bytes:
    """The encoded image of a record, or empty."""
    found = features.get(IMAGE_KEY)
    return bytes(found[0]) if found and found.kind is bytes else b""


NO_EXAMPLE = "is not a tf.train.Example"


def why_unusable(serialized: bytes, fault_in: Callable[[Features], RecordFault | None]) -> str:
    """Describes why a run cannot use a record.

    Args:
        serialized: The record.
        fault_in: Finds the fault of its features.
    """
    try:
        features = decode_example(serialized)
    except ValueError as error:
        return f"{NO_EXAMPLE} ({error})"
    fault = fault_in(features)
    return fault.text if fault is not None else fault_of_stored_image(image_of(features)) or "the image does not decode"
