"""Rules for the label of a classification record (no TF)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.validate.decoded_image import DecodedImage
from tools.validate.findings import Finding
from tools.validate.scan import RecordCheck, ScannedImage, size_fault, true_size
from utils.records.label_records import LABEL_KEY, LabelRange
from utils.records.manifest import LABEL_OFFSET, Manifest
from utils.records.record_rules import Features

TEXT_KEY = "image/class/text"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRules:
    """Labels as training reads them: from ``offset`` on, one for each of ``names``; any number without names."""

    offset: int = LABEL_OFFSET
    names: tuple[str, ...] | None = None

    def __call__(self, features: Features, decoded: DecodedImage) -> RecordCheck:
        count = None if self.names is None else len(self.names)
        refused = LabelRange(offset=self.offset, count=count).fault_in(features)
        if refused is not None:
            return RecordCheck(notes=(refused,))
        label = features[LABEL_KEY][0]
        fault = self._fault_of_name(label, text_of(features))
        wrong_size = size_fault(features, decoded)
        notes = (*fault, *((("image_size", wrong_size),) if wrong_size else ()))
        return RecordCheck(() if fault else (label,), notes, true_size(decoded) if wrong_size else None)

    def _fault_of_name(self, label: int, text: str) -> tuple[tuple[str, str], ...]:
        if self.names is not None and text and text != self.names[label - self.offset]:
            name = self.names[label - self.offset]
            return (("label_name", f"has the class name {text!r} with the label {label}, which means {name!r}"),)
        return ()


def make_label_rules(folder: Path, manifest: Manifest | None) -> tuple[LabelRules, dict[int, str], list[str]]:
    """The rules of a folder of records, the names of the labels if the manifest has them, and no faults."""
    del folder
    if manifest is None:
        return LabelRules(), {}, []
    rules = LabelRules(offset=manifest.label_offset, names=manifest.class_names)
    return rules, dict(enumerate(manifest.class_names, manifest.label_offset)), []


def text_of(features: Features) -> str:
    """The class name in a record, or empty."""
    values = features.get(TEXT_KEY) or [b""]
    return values[0].decode(errors="replace") if isinstance(values[0], bytes) else ""


def label_conflicts(images: Sequence[ScannedImage]) -> list[Finding]:
    """Findings about identical images of one split with different labels; the right label is unknown."""
    by_digest: dict[tuple[str, bytes], list[ScannedImage]] = {}
    for image in images:
        if image.thumb and image.labels:
            by_digest.setdefault((image.place.split, image.digest), []).append(image)
    found = []
    for group in by_digest.values():
        labels = Counter(image.labels[0] for image in group)
        if len(labels) > 1:
            for image in group:
                other = next(one for one in group if one.labels != image.labels)
                text = f"has the label {image.labels[0]}; {other.place} is the same image with {other.labels[0]}"
                found.append(Finding("label_conflict", image.place, text))
    return found
