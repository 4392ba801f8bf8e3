"""What a conversion will write: which image goes into which shard, under which label and name (no TF)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from utils.class_names import read_class_names
from utils.config import require
from utils.conversion.bounding_boxes import BoundingBoxes, check_boxes, read_bounding_boxes
from utils.conversion.record_writer import RecordPlan, ShardPlan, ShardResult, add_source_hashes
from utils.conversion.source_layout import order_key, read_sources
from utils.conversion.sources import Classes, SourceSet
from utils.errors import UsageError
from utils.manifest import IMAGENET_CLASSES, IMAGENET_HEAD, LABEL_OFFSET, Manifest, ShardFile, Split

_IMAGENET_SHARDS = {"train": 1024, "validation": 128}
_IMAGES_PER_SHARD = 1250
_SMALL_SHARD = 250  # up to four files of a small set are read at the same time
_CREATED_BY = "utils.convert_dataset 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What ``python -m utils.convert_dataset`` was asked to do; the fields are its flags."""

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
    head_size: int | None = None
    skip_unreadable: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        for flag in ("train_shards", "validation_shards", "head_size", "workers"):
            value = getattr(self, flag)
            require(value is None or value > 0, flag, value, "a positive integer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """The shards of every split in order, and what the manifest says of all."""

    class_names: tuple[str, ...]
    head_size: int
    shards: dict[str, tuple[ShardPlan, ...]]
    folders_read: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def all_shards(self) -> list[ShardPlan]:
        return [shard for shards in self.shards.values() for shard in shards]

    def manifest(self, results: dict[str, ShardResult]) -> Manifest:
        """The manifest, once every shard has its result (by file name)."""
        splits = {
            split: Split(
                shards=tuple(
                    ShardFile(file=done.file, examples=done.examples, bytes=done.bytes, sha256=done.sha256)
                    for done in (results[shard.file] for shard in shards)
                )
            )
            for split, shards in self.shards.items()
        }
        return Manifest(
            class_names=self.class_names,
            class_count=len(self.class_names),
            head_size=self.head_size,
            label_offset=LABEL_OFFSET,
            splits=splits,
            source_sha256=add_source_hashes([int(done.source_sha256, 16) for done in results.values()]),
            created_by=_CREATED_BY,
        )


def default_shards(images: int, split: str, class_count: int, is_imagenet: bool) -> int:
    """How many shards a split gets when no flag says so.

    ImageNet's customary numbers for ImageNet in full; else about 1,250 images a shard, and for small sets up to four
    shards of 250 images or more.
    """
    customary = _IMAGENET_SHARDS.get(split, 1)
    if is_imagenet and class_count == IMAGENET_CLASSES and images >= _SMALL_SHARD * customary:
        return customary
    return max(1, round(images / _IMAGES_PER_SHARD), min(4, images // _SMALL_SHARD))


def plan_conversion(options: ConvertOptions) -> ConversionPlan:
    """Reads the source and decides everything about the records; writes nothing.

    Raises:
        UsageError: a flag does not fit what is there.
        RunError: the source is not a data set.
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
        split: _shuffled_records(classes, sources, names, boxes, options.seed)
        for split, classes in sources.splits.items()
    }
    shards = {
        split: _divide(split, split_records, _shard_count(split, len(split_records), sources, options), options)
        for split, split_records in records.items()
        if split_records
    }
    return ConversionPlan(
        class_names=names,
        head_size=_head_size(sources, options.head_size),
        shards=shards,
        folders_read=sources.folders_read,
        notes=tuple(notes),
    )


def _head_size(sources: SourceSet, asked: int | None) -> int:
    count = len(sources.class_folders)
    if asked is not None and asked < count:
        raise UsageError(f"--head_size {asked}: must be at least {count}, the number of classes in the data")
    if asked is not None:
        return asked
    return IMAGENET_HEAD if sources.is_imagenet and count == IMAGENET_CLASSES else count


def _shuffled_records(
    classes: Classes, sources: SourceSet, names: tuple[str, ...], boxes: BoundingBoxes | None, seed: int
) -> list[RecordPlan]:
    records = [
        RecordPlan(
            image=image,
            label=index + LABEL_OFFSET,
            synset=folder,
            text=names[index],
            boxes=boxes.of(image.name, folder) if boxes is not None else None,
        )
        for index, folder in enumerate(sources.class_folders)
        for image in classes.get(folder, ())
    ]
    return sorted(records, key=lambda record: order_key(seed, record.image.name))


def _shard_count(split: str, images: int, sources: SourceSet, options: ConvertOptions) -> int:
    asked: int | None = getattr(options, f"{split}_shards")
    if asked is None:
        return default_shards(images, split, len(sources.class_folders), sources.is_imagenet)
    if asked > images:
        raise UsageError(f"--{split}_shards {asked}: must be at most {images}, the number of {split} images")
    return asked


def _divide(split: str, records: list[RecordPlan], count: int, options: ConvertOptions) -> tuple[ShardPlan, ...]:
    """Consecutive runs of records, whose lengths differ by one at most."""
    edges = [len(records) * index // count for index in range(count + 1)]
    return tuple(
        ShardPlan(
            file=f"{split}-{index:05d}-of-{count:05d}",
            records=tuple(records[edges[index] : edges[index + 1]]),
            source=options.source,
            out=options.out,
            skip_unreadable=options.skip_unreadable,
        )
        for index in range(count)
    )
