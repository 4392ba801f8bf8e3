"""The plan of a conversion: its shards by split, and the manifest that will describe them (no TF)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tools.convert.shard_writer import ShardPlan, ShardResult, add_source_hashes
from utils.errors import UsageError
from utils.records.manifest import Manifest, ShardFile, Split

_IMAGES_PER_SHARD = 1250
_SMALL_SHARD = 250  # up to four files of a small set are read at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """The shards of every split in order, and the description for the manifest.

    Attributes:
        description: The manifest, without splits and hash as yet.
        shards: The shards by name of the split.
        sources: The files or folders to convert; the output folder belongs to them.
        folders_read: The folders of the images; the output must lie outside them.
        notes: Sentences for the user.
        companions: Files beside the records, by name.
        further_hashes: Hashes of sources other than images, added to the hash of the sources.
        groups: The group of each image by its name; None if there are none.
    """

    description: Manifest
    shards: Mapping[str, tuple[ShardPlan, ...]]
    sources: tuple[Path, ...]
    folders_read: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    companions: Mapping[str, bytes] = field(default_factory=dict)
    further_hashes: tuple[int, ...] = ()
    groups: Mapping[str, str] | None = None

    @property
    def all_shards(self) -> list[ShardPlan]:
        return [shard for shards in self.shards.values() for shard in shards]

    @property
    def source_names(self) -> str:
        return ", ".join(map(str, self.sources))

    def manifest(self, results: Mapping[str, ShardResult]) -> Manifest:
        """The manifest, once every shard has its result (by file name)."""
        splits = {
            split: Split(
                shards=tuple(
                    ShardFile(
                        file=done.file,
                        examples=done.examples,
                        bytes=done.bytes,
                        sha256=done.sha256,
                        groups=self._groups_of(shard, done),
                    )
                    for shard, done in ((shard, results[shard.file]) for shard in shards)
                )
            )
            for split, shards in self.shards.items()
        }
        hashes = [int(done.source_sha256, 16) for done in results.values()]
        return replace(
            self.description, splits=splits, source_sha256=add_source_hashes([*hashes, *self.further_hashes])
        )

    def _groups_of(self, shard: ShardPlan, done: ShardResult) -> tuple[str, ...] | None:
        """The group of each record of a finished shard."""
        if self.groups is None:
            return None
        skipped = {name for name, _ in done.skipped}
        return tuple(self.groups[one.image.name] for one in shard.records if one.image.name not in skipped)


def shard_count(images: int, customary: int | None, *, smallest: int = _SMALL_SHARD) -> int:
    """Default number of shards of a split.

    Args:
        images: Number of images in the split.
        customary: The customary number for a well-known data set.
        smallest: Fewest images per shard at which the customary number applies.

    Returns:
        The customary number for a complete data set; otherwise about 1,250 images per shard, and for small sets up to
        four shards of 250 images or more.
    """
    if customary is not None and images >= smallest * customary:
        return customary
    return max(1, round(images / _IMAGES_PER_SHARD), min(4, images // _SMALL_SHARD))


def check_shards(flag: str, asked: int, images: int, kind: str) -> int:
    """The requested number of shards, which must leave none empty."""
    if asked > images:
        raise UsageError(f"--{flag} {asked}: must be at most {images}, the number of {kind} images")
    return asked


def shard_name(stem: str, index: int, count: int) -> str:
    """The file name of a shard: "train-00003-of-00010"."""
    return f"{stem}-{index:05d}-of-{count:05d}"


def divide_evenly(total: int, count: int) -> Sequence[range]:
    """Consecutive ranges that cover ``total`` numbers; their lengths differ by at most one."""
    edges = [total * index // count for index in range(count + 1)]
    return [range(edges[index], edges[index + 1]) for index in range(count)]
