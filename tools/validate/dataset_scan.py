"""Scans a whole data set: its images, its classes and all findings (no TF)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from object_detection.records.object_records import image_numbers
from tools.convert.coco_survey import different_classes
from tools.validate.coco_source import CocoSource
from tools.validate.duplicates import duplicates, near_duplicates
from tools.validate.findings import Finding, Place
from tools.validate.label_rules import label_conflicts
from tools.validate.record_source import RecordSource
from tools.validate.scan import ScannedImage, ScanUnit, scan_images
from utils.text import plural

UNBALANCED = 20.0  # times as many examples in the largest class as in the smallest


class Source(Protocol):
    """One source of images: a folder of records, a folder of images, or an annotation file.

    Attributes:
        path: The path as given.
        what: Its description for people.
        task: "classification" or "detection".
        classes: The name of each possible label or category.
        findings: The findings about its files.
    """

    path: Path
    what: str
    task: str
    classes: Mapping[int, str]
    findings: list[Finding]

    def units(self) -> Sequence[ScanUnit]:
        """The parts of the work of scanning its images."""

    def repair(self, out: Path, images: Sequence[ScannedImage], dropped: frozenset[Place]) -> None:
        """Writes a repaired copy of it without the dropped images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetScan:
    """The images of a data set, and all findings."""

    sources: Sequence[Source]
    images: Sequence[ScannedImage]
    findings: Sequence[Finding] = field(repr=False)

    @property
    def faults(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_fault]

    @property
    def splits(self) -> list[str]:
        """The splits that have images, in order."""
        return list(dict.fromkeys(image.place.split for image in self.images))

    @property
    def classes(self) -> dict[int, str]:
        """The name of each label or category, from all sources."""
        names: dict[int, str] = {}
        for source in self.sources:
            names |= source.classes
        return names

    def images_of(self, source: Source, split: str | None = None) -> list[ScannedImage]:
        """The images of a source, or of one of its splits."""
        name = str(source.path)
        return [one for one in self.images if one.place.source == name and split in (None, one.place.split)]

    def counts(self, split: str) -> Counter[int]:
        """Examples of each label, or objects of each category, in a split."""
        return Counter(label for image in self.images if image.place.split == split for label in image.labels)


def scan_dataset(sources: Sequence[Source], workers: int) -> DatasetScan:
    """Scans every image of the sources.

    Raises:
        RunError: A file cannot be read.
    """
    images = scan_images([unit for source in sources for unit in source.units()], workers)
    findings = [finding for source in sources for finding in source.findings]
    findings += [finding for image in images for finding in image.findings]
    findings += duplicates(images)
    findings += near_duplicates(images)
    if all(source.task == "classification" for source in sources):
        findings += label_conflicts(images)
    else:
        findings += _of_categories([source for source in sources if isinstance(source, CocoSource)])
        records = [source for source in sources if isinstance(source, RecordSource)]  # others have looked themselves
        findings += [one for source in records for one in _of_objects(source, images)]
    found = DatasetScan(sources=sources, images=images, findings=findings)
    return DatasetScan(sources=sources, images=images, findings=[*findings, *_of_classes(found)])


def _of_objects(source: Source, images: Sequence[ScannedImage]) -> Iterator[Finding]:
    """Yields findings about splits without any object, and about the numbers of images, which evaluation needs."""
    splits: dict[str, list[ScannedImage]] = {}
    for image in images:
        if image.place.source == str(source.path):
            splits.setdefault(image.place.split, []).append(image)
    for split, members in splits.items():
        usable = [image for image in members if not any(finding.is_fault for finding in image.findings)]
        if usable and not any(image.labels for image in members):
            text = f"has no object in any of its {plural(len(members), 'image')}"
            yield Finding("split_without_objects", Place(str(source.path), split, split), text)
        yield from _of_numbers(members) if split != "train" else ()


def _of_categories(files: Sequence[CocoSource]) -> Iterator[Finding]:
    """Yields findings about annotation files whose categories are not those of the first, as conversion needs them."""
    for other in files[1:]:
        text = different_classes((files[0].path, files[0].classes), (other.path, other.classes))
        if text:
            yield Finding("categories_differ", Place(str(other.path), other.split, other.path.name), text)


def _of_numbers(images: Sequence[ScannedImage]) -> Iterator[Finding]:
    first: dict[int, ScannedImage] = {}
    for number, image in zip(image_numbers([image.image_id for image in images]) or (), images, strict=False):
        if number in first:
            text = f"has the number {number} of {first[number].place} (image/source_id); evaluation needs another one"
            yield Finding("source_id", image.place, text)
        first.setdefault(number, image)


def _of_classes(found: DatasetScan) -> Iterator[Finding]:
    """Yields remarks on the numbers of examples of the classes."""
    names, counts = found.classes, {split: found.counts(split) for split in found.splits}
    where = ", ".join(str(source.path) for source in found.sources)
    for label, name in sorted(names.items()):
        splits = [split for split in counts if counts[split][label]]
        if not splits:
            yield Finding("class_empty", Place(where, "", name), f"the class {name!r} has no examples")
        elif "train" in counts and "train" not in splits:
            text = f"the class {name!r} has examples in {' and '.join(splits)} but none in train"
            yield Finding("class_untrained", Place(where, splits[0], name), text)
        elif "validation" in counts and "validation" not in splits:
            text = f"the class {name!r} has no validation example"
            yield Finding("class_unvalidated", Place(where, splits[0], name), text)
    for split, numbers in counts.items():
        if len(numbers) == 1:
            (label,) = numbers
            text = (
                f"all examples of {split} are of the class {names.get(label, label)!r}: there is nothing to distinguish"
            )
            yield Finding("one_class", Place(where, split, split), text)
        elif numbers and max(numbers.values()) >= UNBALANCED * min(numbers.values()):
            (most, many), (least, few) = numbers.most_common(1)[0], numbers.most_common()[-1]
            text = f"{split} has {many:,} of {names.get(most, most)!r} and {few:,} of {names.get(least, least)!r}"
            yield Finding("class_balance", Place(where, split, split), text)
