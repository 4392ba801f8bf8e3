"""The plan of a COCO data set: the images of each shard with their annotations (no TF)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from object_detection.coco.annotations import CocoFile, CocoImage, read_coco
from object_detection.label_map import Category, label_map_text
from tools.convert.box_frame import AUTO
from tools.convert.coco_record import CocoRecord
from tools.convert.coco_survey import Survey, different_classes, survey
from tools.convert.conversion_plan import ConversionPlan, check_shards, shard_count, shard_name
from tools.convert.instance_masks import check_pycocotools
from tools.convert.shard_writer import ShardPlan, source_hash
from tools.convert.sources import ImageSource
from utils.errors import RunError, UsageError, require
from utils.records.manifest import LABEL_MAP_NAME, Manifest
from utils.suggestions import path_hint

_log = logging.getLogger(__name__)

_COCO_CLASSES = 80
_SMALLEST_COCO_SHARD = 200  # test-dev's 20,288 images go into 100
_CREATED_BY = "object_detection.create_coco_tfrecord 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitKind:
    """A split: its names in flags, files and the manifest, and the customary number of COCO shards."""

    name: str
    image_flag: str
    annotations_flag: str
    shards_flag: str
    stem: str
    customary_shards: int
    need_annotations: bool = True


SPLITS = (
    SplitKind(
        name="train",
        image_flag="train_image_dir",
        annotations_flag="train_annotations_file",
        shards_flag="train_shards",
        stem="coco_train.record",
        customary_shards=100,
    ),
    SplitKind(
        name="validation",
        image_flag="val_image_dir",
        annotations_flag="val_annotations_file",
        shards_flag="val_shards",
        stem="coco_val.record",
        customary_shards=10,
    ),
    SplitKind(
        name="testdev",
        image_flag="test_image_dir",
        annotations_flag="testdev_annotations_file",
        shards_flag="testdev_shards",
        stem="coco_testdev.record",
        customary_shards=100,
        need_annotations=False,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSource:
    """The source of a split, and the requested number of shards."""

    image_dir: Path
    annotations_file: Path
    shards: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoOptions:
    """Options of ``python -m tools.create_coco_tfrecord``; ``splits`` maps split names to sources."""

    splits: Mapping[str, SplitSource] = field(default_factory=dict)
    output_dir: Path
    include_masks: bool = False
    box_format: str = AUTO
    boxes_are: str = AUTO
    workers: int = 1
    skip_unreadable: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        require(self.workers > 0, "workers", self.workers, "a positive integer")


def coco_options(values: Mapping[str, Any]) -> CocoOptions:
    """The options from the values of the flags.

    Raises:
        UsageError: A flag lacks its partner or is out of range, or no split was named.
    """
    splits = {kind.name: source for kind in SPLITS if (source := _split_source(kind, values)) is not None}
    if not splits:
        raise UsageError("nothing to convert: give --train_image_dir with --train_annotations_file, or those of val")
    others = ("output_dir", "include_masks", "box_format", "boxes_are", "workers", "skip_unreadable", "overwrite")
    return CocoOptions(splits=splits, **{name: values[name] for name in others})


def _split_source(kind: SplitKind, values: Mapping[str, Any]) -> SplitSource | None:
    pair = {flag: values[flag] for flag in (kind.image_flag, kind.annotations_flag)}
    missing = [flag for flag, value in pair.items() if value is None]
    shards = values[kind.shards_flag]
    if len(missing) == 1:
        (given,) = pair.keys() - missing
        raise UsageError(f"--{given} {pair[given]}: needs --{missing[0]} too")
    require(shards is None or shards > 0, kind.shards_flag, shards, "a positive integer")
    if missing:
        if shards is not None:
            raise UsageError(f"--{kind.shards_flag} {shards}: needs --{kind.image_flag} and --{kind.annotations_flag}")
        return None
    return SplitSource(image_dir=pair[kind.image_flag], annotations_file=pair[kind.annotations_flag], shards=shards)


def plan_coco(options: CocoOptions) -> ConversionPlan:
    """Reads the annotation files and plans all records; writes nothing.

    Raises:
        UsageError: A flag does not fit the source.
        RunError: An annotation file is invalid, the files disagree on the classes, or an image folder is missing.
    """
    if options.include_masks:
        check_pycocotools()
    kinds = [kind for kind in SPLITS if kind.name in options.splits]
    for kind in kinds:
        _check_folder(kind, options.splits[kind.name].image_dir)
    files = {kind: _read(kind, options) for kind in kinds}
    categories = _common_categories(files)
    surveys = {kind: _survey(kind, file, options) for kind, file in files.items()}
    sources = [options.splits[kind.name] for kind in kinds]
    return ConversionPlan(
        description=Manifest(
            class_names=tuple(category.name for category in categories),
            class_count=len(categories),
            category_ids=tuple(category.id for category in categories),
            head_size=categories[-1].id + 1,
            label_offset=0,
            task="detection",
            created_by=_CREATED_BY,
        ),
        shards={kind.name: _shards(kind, file, surveys[kind], options) for kind, file in files.items()},
        sources=tuple(source.annotations_file for source in sources),
        folders_read=tuple(source.image_dir for source in sources),
        notes=tuple(dict.fromkeys(note for kind in kinds for note in _notes(kind, files[kind], surveys[kind]))),
        companions={LABEL_MAP_NAME: label_map_text(categories).encode()},
        further_hashes=tuple(source_hash(file.path.name, bytes.fromhex(file.sha256)) for file in files.values()),
    )


def _check_folder(kind: SplitKind, image_dir: Path) -> None:
    if not image_dir.is_dir():
        what = "is a file, not a folder" if image_dir.exists() else "no such folder"
        raise RunError(
            f"--{kind.image_flag} {image_dir}: {what}; it must hold the images of the annotations{path_hint(image_dir)}"
        )


def _read(kind: SplitKind, options: CocoOptions) -> CocoFile:
    file = options.splits[kind.name].annotations_file
    _log.info("reading %s", file)  # half a gigabyte for COCO's training set, which takes a minute
    return read_coco(
        file,
        flag=f"--{kind.annotations_flag}",
        need_annotations=kind.need_annotations,
        keep_segmentation=options.include_masks,
    )


def _common_categories(files: Mapping[SplitKind, CocoFile]) -> tuple[Category, ...]:
    """The classes, which all files must share; excludes category 0 if it is the background."""
    (first_kind, first), *others = files.items()
    for kind, other in others:
        different = different_classes((first.path, first.names), (other.path, other.names))
        if different:
            flags = f"--{first_kind.annotations_flag} and --{kind.annotations_flag}"
            raise RunError(f"{flags}: their categories differ, and must be the same: {different}")
    return tuple(category for category in first.categories if not category.is_background)


def _survey(kind: SplitKind, file: CocoFile, options: CocoOptions) -> Survey:
    """Examines a file with its images.

    Raises:
        RunError: Its records would be useless or dangerous.
    """
    found = survey(
        file,
        options.splits[kind.name].image_dir,
        box_format=options.box_format,
        boxes_are=options.boxes_are,
        needs_boxes=kind.need_annotations,
    )
    for problem in found.problems:
        if problem.refused:
            raise RunError(f"--{kind.annotations_flag} {file.path}: {problem.sentence()}")
    return found


def _notes(kind: SplitKind, file: CocoFile, found: Survey) -> Iterator[str]:
    """Yields sentences on what a file proves, and on its problems that do not prevent the conversion."""
    yield from found.notes
    for problem in found.problems:
        yield f"--{kind.annotations_flag} {file.path}: {problem.sentence()}"


def _shards(kind: SplitKind, file: CocoFile, found: Survey, options: CocoOptions) -> tuple[ShardPlan, ...]:
    """Assigns image i to shard i modulo the number of shards, the customary order of COCO records."""
    source = options.splits[kind.name]
    image_dir = source.image_dir.absolute()
    names = {category.id: category.name for category in file.categories}
    by_image = file.by_image()
    records = [
        CocoRecord(
            image=_image_source(image_dir, entry),
            entry=entry,
            annotations=by_image[entry.id],
            category_names=tuple(names[annotation.category_id] for annotation in by_image[entry.id]),
            box_format=found.box_format.name,
            upright=entry.id in found.upright,
            masks=options.include_masks,
        )
        for entry in file.images
    ]
    count = _count_of_shards(kind, len(records), len(names), source.shards)
    return tuple(
        ShardPlan(
            file=shard_name(kind.stem, index, count),
            records=tuple(records[index::count]),
            source=image_dir.parent,
            out=options.output_dir,
            skip_unreadable=options.skip_unreadable,
        )
        for index in range(count)
    )


def _count_of_shards(kind: SplitKind, images: int, classes: int, asked: int | None) -> int:
    if asked is not None:
        return check_shards(kind.shards_flag, asked, images, kind.name)
    customary = kind.customary_shards if classes == _COCO_CLASSES else None
    return shard_count(images, customary, smallest=_SMALLEST_COCO_SHARD)


def _image_source(image_dir: Path, entry: CocoImage) -> ImageSource:
    """The file of an image, named by its folder and file name."""
    name = f"{image_dir.name}/{entry.file_name}"
    try:
        status = (image_dir / entry.file_name).stat()
    except OSError:  # reported with all other unreadable images
        return ImageSource(name, -1, 0)
    return ImageSource(name, status.st_size, status.st_mtime_ns)
