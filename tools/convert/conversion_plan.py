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
    """The shards of every split in order, and what the manifest says of all.

    Attributes:
        description: The manifest, still without splits and hash.
        shards: By the name of the split.
        sources: What is converted; the output folder belongs to it.
        folders_read: Where images lie; the output must not lie there.
        notes: Sentences for the user.
        companions: Files beside the records, by name.
        further_hashes: What other sources than images add to the hash of the sources.
    """

    description: Manifest
    shards: Mapping[str, tuple[ShardPlan, ...]]
    sources: tuple[Path, ...]
    folders_read: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    companions: Mapping[str, bytes] = field(default_factory=dict)
    further_hashes: tuple[int, ...] = ()

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
                    ShardFile(file=done.file, examples=done.examples, bytes=done.bytes, sha256=done.sha256)
                    for done in (results[shard.file] for shard in shards)
                )
            )
            for split, shards in self.shards.items()
        }
        hashes = [int(done.source_sha256, 16) for done in results.values()]
        return replace(
            self.description, splits=splits, source_sha256=add_source_hashes([*hashes, *self.further_hashes])
        )


def shard_count(images: int, customary: int | None, *, smallest: int = _SMALL_SHARD) -> int:
    """Number of shards of a split when no flag says so.

    Args:
        images: In the split.
        customary: The number that everyone uses for this data set, where it is a well-known one.
        smallest: Images a shard at which the customary number makes sense.

    Returns:
        The customary number for a set that is there in full; else about 1,250 images a shard, and for small sets up to
        four shards of 250 images or more.
    """
    if customary is not None and images >= smallest * customary:
        return customary
    return max(1, round(images / _IMAGES_PER_SHARD), min(4, images // _SMALL_SHARD))


def check_shards(flag: str, asked: int, images: int, kind: str) -> int:
    """The number of shards asked for, which must leave none empty."""
    if asked > images:
        raise UsageError(f"--{flag} {asked}: must be at most {images}, the number of {kind} images")
    return asked


def shard_name(stem: str, index: int, count: int) -> str:
    """The file name of a shard: "train-00003-of-00010"."""
    return f"{stem}-{index:05d}-of-{count:05d}"


def divide_evenly(total: int, count: int) -> Sequence[range]:
    """Consecutive runs of ``total`` numbers, whose lengths differ by one at most."""
    edges = [total * index // count for index in range(count + 1)]
    return [range(edges[index], edges[index + 1]) for index in range(count)]
