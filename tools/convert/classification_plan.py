"""Classification records, and the plan that divides them into shards (no TF)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.convert.bounding_boxes import DECIMALS, BoundingBoxes, Box, check_boxes, read_bounding_boxes
from tools.convert.box_frame import AUTO, READ_AS_STORED, UPRIGHT, picture_of, stored_header, turn_box
from tools.convert.conversion_plan import ConversionPlan, check_shards, divide_evenly, shard_count, shard_name
from tools.convert.image_groups import read_groups
from tools.convert.remarks import Remarks
from tools.convert.shard_writer import RecordPlan, ShardPlan
from tools.convert.source_layout import order_key, read_sources
from tools.convert.sources import Classes, ImageSource, SourceSet
from utils.errors import UsageError, require
from utils.images.image_files import EncodedImage
from utils.records.class_names import read_class_names
from utils.records.example_proto import Value
from utils.records.manifest import IMAGENET_CLASSES, IMAGENET_HEAD, LABEL_OFFSET, Manifest

_IMAGENET_SHARDS = {"train": 1024, "validation": 128}
CREATED_BY = "tools.convert 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationOptions:
    """Options of ``python -m tools.convert``; the fields are its flags."""

    source: Path
    out: Path
    train_shards: int | None = None
    validation_shards: int | None = None
    seed: int = 12345
    workers: int = 1
    validation_fraction: float | None = None
    validation_labels: Path | None = None
    class_names: Path | None = None
    bounding_boxes: Path | None = None
    groups: Path | None = None
    boxes_are: str = AUTO
    head_size: int | None = None
    skip_unreadable: bool = False
    overwrite: bool = False
    labels: Path | None = None
    multi_label: bool = False

    def __post_init__(self) -> None:
        for flag in ("train_shards", "validation_shards", "head_size", "workers"):
            value = getattr(self, flag)
            require(value is None or value > 0, flag, value, "a positive integer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationRecord:
    """One record. ``label`` starts at the label offset; ``text`` is the readable class name.

    ``boxes_size`` is the height and width of the picture that the boxes were drawn on, if given; ``boxes_are`` says
    which picture that is, or "auto".
    """

    image: ImageSource
    label: int
    synset: str
    text: str
    boxes: tuple[Box, ...] | None = None
    boxes_size: tuple[float, float] | None = None
    boxes_are: str = AUTO

    def identity(self) -> tuple[Any, ...]:
        """Everything besides the image that determines the record."""
        return self.label, self.synset, self.text, self.boxes, self.boxes_size, self.boxes_are

    def features(self, image: EncodedImage, remarks: Remarks) -> dict[str, Value]:
        """The features of the record, with the keys of ImageNet's own records (source: Inception's data scripts)."""
        features: dict[str, Value] = {
            **image_features(image, self.image.name),
            "image/class/label": self.label,
            "image/class/synset": self.synset.encode(),
            "image/class/text": self.text.encode(),
        }
        if self.boxes:
            orientation = self._orientation(image, remarks)
            boxes = [turn_box(box, orientation) for box in self.boxes]
            for column, edge in enumerate(("ymin", "xmin", "ymax", "xmax")):
                features[f"image/object/bbox/{edge}"] = [round(box[column], DECIMALS) for box in boxes]
            features["image/object/bbox/label"] = [self.label] * len(boxes)
        return features

    def _orientation(self, image: EncodedImage, remarks: Remarks) -> int:
        """The EXIF orientation that turns the boxes upright; 1 if they are."""
        said = self.boxes_size or (None, None)
        drawn_on = picture_of(said, stored_header(image)) if self.boxes_are == AUTO else self.boxes_are
        if not drawn_on and image.orientation != 1:
            remarks.add("image", f"{READ_AS_STORED} (--boxes_are)", self.image.name)
        return 1 if drawn_on == UPRIGHT else image.orientation


def image_features(image: EncodedImage, name: str) -> dict[str, Value]:
    """The features of an image whatever its labels; ``name`` is its path."""
    return {
        "image/height": image.height,
        "image/width": image.width,
        "image/colorspace": b"RGB",
        "image/channels": 3,
        "image/format": image.format.encode(),
        "image/filename": os.fsencode(name.rsplit("/", 1)[-1]),
        "image/encoded": image.data,
    }


def default_shards(images: int, split: str, class_count: int, is_imagenet: bool) -> int:
    """Default number of shards of a split; the customary numbers apply only to the whole of ImageNet."""
    customary = _IMAGENET_SHARDS.get(split) if is_imagenet and class_count == IMAGENET_CLASSES else None
    return shard_count(images, customary)


def plan_classification(options: ClassificationOptions) -> ConversionPlan:
    """Reads the source and plans all records; writes nothing.

    Raises:
        UsageError: A flag does not fit the source.
        RunError: The source is not a data set.
    """
    sources = read_sources(
        options.source,
        validation_fraction=options.validation_fraction,
        validation_labels=options.validation_labels,
        seed=options.seed,
    )
    folders = sources.class_folders
    names = folders if options.class_names is None else read_class_names(options.class_names, folders)
    notes = list(sources.notes)
    boxes = None
    if options.bounding_boxes is not None:
        boxes = read_bounding_boxes(options.bounding_boxes)
        notes += check_boxes(boxes, sources, options.bounding_boxes)
    records = {
        split: _shuffled_records(classes, sources, names, boxes, options) for split, classes in sources.splits.items()
    }
    shards = {
        split: divide(split, split_records, _shard_count(split, len(split_records), sources, options), options)
        for split, split_records in records.items()
        if split_records
    }
    return ConversionPlan(
        description=Manifest(
            class_names=names,
            class_count=len(names),
            head_size=_head_size(sources, options.head_size),
            label_offset=LABEL_OFFSET,
            created_by=CREATED_BY,
        ),
        shards=shards,
        sources=(options.source,),
        folders_read=sources.folders_read,
        notes=tuple(notes),
        groups=None if options.groups is None else read_groups(options.groups, sources),
    )


def _head_size(sources: SourceSet, asked: int | None) -> int:
    count = len(sources.class_folders)
    if asked is not None:
        return check_head_size(asked, count)
    return IMAGENET_HEAD if sources.is_imagenet and count == IMAGENET_CLASSES else count


def check_head_size(asked: int, count: int) -> int:
    """The requested head size, which must hold all classes."""
    if asked < count:
        raise UsageError(f"--head_size {asked}: must be at least {count}, the number of classes in the data")
    return asked


def _shuffled_records(
    classes: Classes,
    sources: SourceSet,
    names: tuple[str, ...],
    boxes: BoundingBoxes | None,
    options: ClassificationOptions,
) -> list[ClassificationRecord]:
    records = [
        ClassificationRecord(
            image=image,
            label=index + LABEL_OFFSET,
            synset=folder,
            text=names[index],
            boxes=boxes.of(image.name, folder) if boxes is not None else None,
            boxes_size=boxes.size_of(image.name) if boxes is not None else None,
            boxes_are=options.boxes_are,
        )
        for index, folder in enumerate(sources.class_folders)
        for image in classes.get(folder, ())
    ]
    return sorted(records, key=lambda record: order_key(options.seed, record.image.name))


def _shard_count(split: str, images: int, sources: SourceSet, options: ClassificationOptions) -> int:
    asked: int | None = getattr(options, f"{split}_shards")
    if asked is None:
        return default_shards(images, split, len(sources.class_folders), sources.is_imagenet)
    return check_shards(f"{split}_shards", asked, images, split)


def divide(
    split: str, records: Sequence[RecordPlan], count: int, options: ClassificationOptions
) -> tuple[ShardPlan, ...]:
    """Divides the records of a split into a number of shards."""
    return tuple(
        ShardPlan(
            file=shard_name(split, index, count),
            records=tuple(records[run.start : run.stop]),
            source=options.source,
            out=options.out,
            skip_unreadable=options.skip_unreadable,
        )
        for index, run in enumerate(divide_evenly(len(records), count))
    )
