"""Records of images with several labels each, and the plan that divides them into shards (no TF)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.convert.classification_plan import (
    CREATED_BY,
    ClassificationOptions,
    check_head_size,
    default_shards,
    divide,
    image_features,
)
from tools.convert.conversion_plan import ConversionPlan, check_shards
from tools.convert.label_file import SPLITS, ListedImage, read_label_file
from tools.convert.remarks import Remarks
from tools.convert.shard_writer import read_source
from tools.convert.source_layout import order_key, read_sources
from tools.convert.sources import ImageSource, count_images_below
from utils.errors import RunError, UsageError
from utils.images.image_files import EncodedImage, UnreadableImage
from utils.records.class_names import read_class_names
from utils.records.example_proto import Value
from utils.records.manifest import LABEL_OFFSET, Manifest
from utils.text import first_few, plural, similar_names


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralLabelsRecord:
    """One record. ``labels`` ascend from the label offset; ``names`` and ``texts`` are those of its classes."""

    image: ImageSource
    labels: tuple[int, ...]
    names: tuple[str, ...]
    texts: tuple[str, ...]

    def identity(self) -> tuple[Any, ...]:
        """Everything besides the image that determines the record."""
        return self.labels, self.names, self.texts

    def features(self, image: EncodedImage, remarks: Remarks) -> dict[str, Value]:
        """The features of the record: the keys of records with one label, with lists for it and its names."""
        del remarks
        return {
            **image_features(image, self.image.name),
            "image/class/label": list(self.labels),
            "image/class/synset": [name.encode() for name in self.names],
            "image/class/text": [text.encode() for text in self.texts],
        }


@dataclass(frozen=True, slots=True)
class _Labelled:
    """An image with the names of its classes, and its split if the source says it."""

    image: ImageSource
    classes: frozenset[str]
    split: str | None


def plan_several_labels(options: ClassificationOptions) -> ConversionPlan:
    """Reads the source and plans all records; writes nothing.

    The labels come from ``--labels``; without it from class folders, in several of which an image may lie.

    Raises:
        UsageError: A flag does not fit the source.
        RunError: The source is not a data set.
    """
    if options.bounding_boxes is not None:
        raise UsageError(f"--bounding_boxes {options.bounding_boxes}: not used with images of several labels each")
    if options.labels is None:
        found, classes, folders, notes = _of_folders(options)
    else:
        if options.validation_labels is not None:
            raise UsageError(f"--validation_labels {options.validation_labels}: contradicts --labels, which has them")
        found, folders, notes = _of_file(options.source, options.labels)
        classes = sorted({name for one in found for name in one.classes})
        notes += [f"the classes {text}" for text in similar_names(classes)]
    if not classes:
        raise RunError(f"{options.source}: no image has a label")
    splits = _split(found, options, notes)
    notes += _notes_on_classes(splits, classes)
    names = tuple(classes) if options.class_names is None else read_class_names(options.class_names, classes)
    shards = {}
    for split, images in splits.items():
        records = [_record(one, classes, names) for one in images]
        asked: int | None = getattr(options, f"{split}_shards")
        usual = default_shards(len(records), split, len(classes), is_imagenet=False)
        count = usual if asked is None else check_shards(f"{split}_shards", asked, len(records), split)
        shards[split] = divide(split, records, count, options)
    count = len(classes)
    return ConversionPlan(
        description=Manifest(
            class_names=names,
            class_count=count,
            head_size=count if options.head_size is None else check_head_size(options.head_size, count),
            label_offset=LABEL_OFFSET,
            created_by=CREATED_BY,
            multi_label=True,
        ),
        shards=shards,
        sources=(options.source,),
        folders_read=folders,
        notes=tuple(notes),
    )


def _record(one: _Labelled, classes: Sequence[str], texts: Sequence[str]) -> SeveralLabelsRecord:
    numbers = [number for number, name in enumerate(classes) if name in one.classes]
    return SeveralLabelsRecord(
        image=one.image,
        labels=tuple(number + LABEL_OFFSET for number in numbers),
        names=tuple(classes[number] for number in numbers),
        texts=tuple(texts[number] for number in numbers),
    )


def _of_file(source: Path, path: Path) -> tuple[list[_Labelled], tuple[Path, ...], list[str]]:
    """The images that a label file lists, the folders they are in, and notes."""
    if not source.is_dir():
        raise RunError(f"{source}: no such folder; must hold the images that --labels {path} lists")
    listed = read_label_file(path)
    said = Counter(one.split is not None for one in listed)
    if len(said) > 1:
        raise RunError(
            f"--labels {path}: {plural(said[False], 'image')} without a split; give all of them one, or none"
        )
    missing = [f"{one.file} ({one.where})" for one in listed if not (source / one.file).is_file()]
    if missing:
        raise RunError(f"--labels {path}: {plural(len(missing), 'image')} missing below {source}: {first_few(missing)}")
    found = [_Labelled(_source_of(source, one.file), frozenset(one.labels), _split_of(one)) for one in listed]
    others = count_images_below(source) - len(found)
    notes = [f"{source}: not used, as --labels does not list them: {plural(others, 'image')}"] if others > 0 else []
    return found, tuple(sorted({(source / one.file).parent for one in listed})), notes


def _source_of(source: Path, file: str) -> ImageSource:
    status = (source / file).stat()
    return ImageSource(file, status.st_size, status.st_mtime_ns)


def _split_of(one: ListedImage) -> str | None:
    """The split that the label file says, else that of the first folder, if it is named like one."""
    folder, _, rest = one.file.partition("/")
    return one.split or (SPLITS.get(folder.casefold()) if rest else None)


def _of_folders(
    options: ClassificationOptions,
) -> tuple[list[_Labelled], list[str], tuple[Path, ...], list[str]]:
    """Images in class folders: those with the same name and content in several folders are one image."""
    sources = read_sources(options.source, validation_labels=options.validation_labels, sets_aside=False)
    found = []
    for split, classes in sources.splits.items():
        by_name: dict[tuple[str, int], list[tuple[ImageSource, str]]] = {}
        for name, images in classes.items():
            for image in images:
                by_name.setdefault((image.name.rsplit("/", 1)[-1], image.size), []).append((image, name))
        known = split if len(sources.splits) > 1 else None
        for alike in by_name.values():
            for group in _same(options.source, alike):
                found.append(_Labelled(group[0][0], frozenset(name for _, name in group), known))
    if all(len(one.classes) == 1 for one in found):
        raise RunError(
            f"{options.source}: no image lies in several class folders, so --multi_label has nothing to join; the same "
            "name and content mean the same image"
        )
    return found, list(sources.class_folders), sources.folders_read, list(sources.notes)


def _same(root: Path, alike: Sequence[tuple[ImageSource, str]]) -> list[list[tuple[ImageSource, str]]]:
    """Images of one name and size, in groups of the same content."""
    if len(alike) == 1:
        return [list(alike)]
    groups: dict[bytes, list[tuple[ImageSource, str]]] = {}
    for image, name in alike:
        try:
            content = hashlib.sha256(read_source(root, image)).digest()
        except UnreadableImage:  # reported with all others when its shard is written
            content = image.name.encode(errors="surrogateescape")
        groups.setdefault(content, []).append((image, name))
    return list(groups.values())


def _split(
    found: Sequence[_Labelled], options: ClassificationOptions, notes: list[str]
) -> Mapping[str, list[_Labelled]]:
    """The images of each split in the order of the records."""
    ordered = sorted(found, key=lambda one: order_key(options.seed, one.image.name))
    fraction = options.validation_fraction
    if fraction is not None and not 0.0 < fraction < 1.0:
        raise UsageError(f"--validation_fraction {fraction:g}: must be above 0 and below 1")
    if any(one.split == "validation" for one in ordered):
        if fraction is not None:
            raise UsageError(f"--validation_fraction {fraction:g}: {options.source} already has validation images")
        parts = {
            split: [one for one in ordered if (one.split or "train") == split] for split in ("train", "validation")
        }
        return {split: images for split, images in parts.items() if images}
    if fraction is None:
        notes.append("all images become training records; --validation_fraction sets some aside")
        return {"train": ordered}
    count = max(1, round(fraction * len(ordered)))
    if count >= len(ordered):
        raise UsageError(
            f"--validation_fraction {fraction:g}: leaves none of {plural(len(ordered), 'image')} to train on"
        )
    return {"train": ordered[count:], "validation": ordered[:count]}


def _notes_on_classes(splits: Mapping[str, Sequence[_Labelled]], classes: Sequence[str]) -> list[str]:
    """Sentences about labels an image, and about classes without an image in a split."""
    notes = []
    for split, images in splits.items():
        counts = Counter(len(one.classes) for one in images)
        mean = sum(size * times for size, times in counts.items()) / len(images)
        notes.append(f"{split}: {mean:.2f} labels an image, {plural(counts[0], 'image')} without any")
        used = {name for one in images for name in one.classes}
        if lacking := [name for name in classes if name not in used]:
            notes.append(f"{split}: {plural(len(lacking), 'class')} without an image: {first_few(lacking)}")
    return notes
