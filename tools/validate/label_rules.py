"""Rules for the label, or the labels, of a classification record (no TF)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.validate.decoded_image import DecodedImage
from tools.validate.findings import Finding
from tools.validate.scan import RecordCheck, ScannedImage, size_fault, true_size
from utils.records.label_records import LABEL_KEY, LabelRange
from utils.records.manifest import LABEL_OFFSET, Manifest
from utils.records.record_rules import Features
from utils.text import plural

TEXT_KEY = "image/class/text"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRules:
    """Labels as training reads them: from ``offset`` on, one for each of ``names``; any number without names.

    With ``several``, a record may have several labels, or none.
    """

    offset: int = LABEL_OFFSET
    names: tuple[str, ...] | None = None
    several: bool = False

    def __call__(self, features: Features, decoded: DecodedImage) -> RecordCheck:
        count = None if self.names is None else len(self.names)
        refused = LabelRange(offset=self.offset, count=count, several=self.several).fault_in(features)
        if refused is not None:
            return RecordCheck(notes=(refused,))
        labels, texts = tuple(features.get(LABEL_KEY, ())), texts_of(features)
        fault = self._fault_of_names(labels, texts)
        wrong_size = size_fault(features, decoded)
        notes = (*fault, *((("image_size", wrong_size),) if wrong_size else ()))
        return RecordCheck(() if fault else labels, notes, true_size(decoded) if wrong_size else None)

    def _fault_of_names(self, labels: Sequence[int], texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
        if self.names is None or not any(texts):
            return ()
        if self.several and len(texts) != len(labels):
            return (("label_name", f"has {plural(len(texts), 'class name')} for {plural(len(labels), 'label')}"),)
        for label, text in zip(labels, texts, strict=False):
            name = self.names[label - self.offset]
            if text != name:
                return (("label_name", f"has the class name {text!r} with the label {label}, which means {name!r}"),)
        return ()


def make_label_rules(
    folder: Path, manifest: Manifest | None, *, several: bool = False
) -> tuple[LabelRules, dict[int, str], list[str]]:
    """The rules of a folder of records, the names of the labels if the manifest has them, and no faults.

    ``several`` says for records without a manifest whether an image may have several labels.
    """
    del folder
    if manifest is None:
        return LabelRules(several=several), {}, []
    rules = LabelRules(offset=manifest.label_offset, names=manifest.class_names, several=manifest.multi_label)
    return rules, dict(enumerate(manifest.class_names, manifest.label_offset)), []


def texts_of(features: Features) -> list[str]:
    """The class names in a record."""
    return [one.decode(errors="replace") for one in features.get(TEXT_KEY, ()) if isinstance(one, bytes)]


def label_conflicts(images: Sequence[ScannedImage]) -> list[Finding]:
    """Findings about identical images of one split with different labels; the right label is unknown."""
    by_digest: dict[tuple[str, bytes], list[ScannedImage]] = {}
    for image in images:
        if image.thumb and image.labels:
            by_digest.setdefault((image.place.split, image.digest), []).append(image)
    found = []
    for group in by_digest.values():
        if len({frozenset(image.labels) for image in group}) > 1:
            for image in group:
                other = next(one for one in group if set(one.labels) != set(image.labels))
                noun = "label" if len(image.labels) == 1 else "labels"
                said, otherwise = (", ".join(map(str, one.labels)) for one in (image, other))
                text = f"has the {noun} {said}; {other.place} is the same image with {otherwise}"
                found.append(Finding("label_conflict", image.place, text))
    return found
