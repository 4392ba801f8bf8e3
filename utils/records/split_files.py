"""The record files of a split, checked against the manifest if there is one (no TF)."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from utils.errors import RunError
from utils.records.manifest import (
    CONVERSION_FOLDER,
    LEADS_OUTSIDE,
    MANIFEST_NAME,
    NO_GROUP,
    Manifest,
    ShardFile,
    StrPath,
    leads_outside,
    read_manifest,
)
from utils.records.record_files import (
    CONVERTERS,
    check_size,
    count,
    count_by_name,
    files_of_pattern,
    patterns_in,
    warn_of_losses,
)
from utils.suggestions import path_hint


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """The record files of a split in reading order, with the number of examples in each.

    With ``chosen``, only the examples with these indices in the split are read; they ascend.
    """

    paths: tuple[str, ...]
    counts: tuple[int, ...]
    manifest: Manifest | None = None
    chosen: tuple[int, ...] | None = None

    @property
    def examples(self) -> int:
        return self.stored if self.chosen is None else len(self.chosen)

    @property
    def stored(self) -> int:
        """Number of examples in the files, also of those that are not chosen."""
        return sum(self.counts)

    @property
    def indices(self) -> Sequence[int]:
        """The index in the split of each example to read."""
        return range(self.stored) if self.chosen is None else self.chosen

    @property
    def groups(self) -> tuple[str, ...] | None:
        """The group of each stored example; None if the data has no groups. An example without one is its own."""
        shards = {} if self.manifest is None else {s.file: s for p in self.manifest.splits.values() for s in p.shards}
        known = [shards[name].groups if (name := Path(path).name) in shards else None for path in self.paths]
        if not any(known):
            return None
        parts = zip(known, self.counts, self.offsets, strict=True)
        return tuple(
            group
            for groups, count, first in parts
            for group in (groups or (f"{NO_GROUP}{first + number}" for number in range(count)))
        )

    @property
    def offsets(self) -> tuple[int, ...]:
        """Index in the split of each file's first example."""
        return tuple(accumulate(self.counts[:-1], initial=0)) if self.counts else ()

    def locate(self, example_index: int) -> tuple[str, int]:
        """The file that holds an example of the split, and its record number in that file (from 0)."""
        if not 0 <= example_index < self.stored:
            raise IndexError(f"example {example_index} of a split of {self.stored}")
        offsets = self.offsets
        file = bisect_right(offsets, example_index) - 1
        return self.paths[file], example_index - offsets[file]


def split_identity(files: SplitFiles) -> str:
    """A digest of a split's records in their order; without a manifest that has checksums, of sizes and counts."""
    known = (
        {} if files.manifest is None else {s.file: s.sha256 for p in files.manifest.splits.values() for s in p.shards}
    )
    content = hashlib.sha256()
    for path, examples in zip(files.paths, files.counts, strict=True):
        mark = known.get(Path(path).name) or f"{Path(path).stat().st_size} bytes"
        content.update(f"{examples} {mark}\n".encode())
    return content.hexdigest()


def load_split(data_dir: StrPath, split: str) -> SplitFiles:
    """The files of a split ("train", "validation" or "testdev"), checked against the manifest if there is one.

    Without a manifest, the files are those named ``<split>-*``, or ``coco_train*``, ``coco_val*`` and
    ``coco_testdev*``. Their records are counted once per process.

    Raises:
        RunError: The folder is missing, it has no such split, or a file is missing or truncated.
    """
    folder = Path(data_dir)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise RunError(
            f"--data_dir {data_dir}: {what}; must be the folder of the record files{path_hint(folder, folder=True)}"
        )
    manifest = read_manifest(folder)
    where = f"--data_dir {data_dir}"
    if manifest is None:
        _check_complete(folder, where)
        return SplitFiles(*count_by_name(folder, split, where))
    if split not in manifest.splits or not manifest.splits[split].examples:
        there = ", ".join(f"{name} ({part.examples} examples)" for name, part in manifest.splits.items()) or "nothing"
        raise RunError(f"{where}: its {MANIFEST_NAME} has no {split} examples; it has {there}")
    shards = manifest.splits[split].shards
    for shard in shards:
        check_size(folder / shard.file, shard.bytes, f"{MANIFEST_NAME} of {where}")
        if leads_outside(folder, shard.file):
            raise RunError(f"{folder / shard.file}: {LEADS_OUTSIDE}; {MANIFEST_NAME} of {where} lists it")
    return SplitFiles(
        tuple(str(folder / shard.file) for shard in shards), tuple(shard.examples for shard in shards), manifest
    )


def load_pattern(patterns: Sequence[str], split: str, flag: str) -> SplitFiles:
    """The files that match patterns, like the input paths of a pipeline configuration.

    The number of records comes from the manifest beside a file, or is counted once per process.

    Args:
        patterns: Paths with ``*`` and ``?``, or several separated by commas; a path may contain a comma.
        split: Split that the files are read for.
        flag: Source of the patterns for messages ("--train_input", "train_input_reader.input_path").

    Returns:
        The files in the order of the patterns, each once, with the manifest if one manifest lists them all.

    Raises:
        RunError: A pattern matches nothing, or a file is truncated or is not a record file.
    """
    paths: dict[Path, None] = {}
    for pattern in (part for text in patterns for part in patterns_in(text)):
        found = files_of_pattern(pattern)
        if not found:
            raise RunError(f"{flag} {pattern or 'of nothing'}: no file matches; must match the {split} records")
        paths |= dict.fromkeys(found)
    manifests = {folder: read_manifest(folder) for folder in {path.parent for path in paths}}
    counts: dict[Path, int] = {}
    unlisted: dict[Path, int] = {}
    for path in paths:
        shard = _listed_shard(path, manifests[path.parent])
        if shard is not None:
            check_size(path, shard.bytes, f"the {MANIFEST_NAME} beside it")
            counts[path] = shard.examples
            continue
        if manifests[path.parent] is None:
            _check_complete(path.parent, f"{flag} {path.parent}")
        counts[path] = unlisted[path] = count(path)
    if not sum(counts.values()):
        raise RunError(f"{flag} {','.join(patterns)}: the {len(counts)} files that match hold no record")
    warn_of_losses(list(unlisted), list(unlisted.values()), flag)
    manifest = next(iter(manifests.values())) if len(manifests) == 1 and not unlisted else None
    return SplitFiles(tuple(map(str, paths)), tuple(counts.values()), manifest)


def _listed_shard(path: Path, manifest: Manifest | None) -> ShardFile | None:
    splits = manifest.splits.values() if manifest else ()
    return next((shard for split in splits for shard in split.shards if shard.file == path.name), None)


def _check_complete(folder: Path, where: str) -> None:
    if (folder / CONVERSION_FOLDER).is_dir():
        raise RunError(
            f"{where}: its conversion was not completed, so there is no {MANIFEST_NAME}; run the same "
            f"conversion command again ({CONVERTERS})"
        )
