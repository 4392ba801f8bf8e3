"""The manifest ``dataset.json`` beside the records, and the record files of a split (no TF)."""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from utils.errors import RunError
from utils.files.atomic_file import write_atomically
from utils.files.file_kind import why_no_json
from utils.files.json_values import shortened, typed, typed_list
from utils.files.regular_file import read_regular
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

MANIFEST_NAME = "dataset.json"
LABEL_MAP_NAME = "label_map.pbtxt"  # beside the manifest of data for detection
CONVERSION_FOLDER = ".convert"  # the converter's progress, beside the records
FORMAT = 1
TASKS = ("classification", "detection")
LABEL_OFFSET = 1  # the first label in records from the converter and in records without a manifest
IMAGENET_CLASSES = 1000
IMAGENET_HEAD = 1001  # one output per class and one that no label uses
NO_GROUP = "\0"  # beginning of the group of an example that has none
_MOST_BYTES = 64 << 20  # of the manifest: that of 300,000 files takes fewer
_MOST_LABEL = 2**31 - 1  # TensorFlow numbers classes in 32 bits
_MOST_EXAMPLES = 2**40  # of a file

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """One record file: its name in the data folder, and its size and SHA-256 if they are known.

    ``groups`` names the group of each record, such as the person on a photograph; None if the data has no groups.
    """

    file: str
    examples: int
    bytes: int | None = None
    sha256: str | None = None
    groups: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry of the manifest."""
        entry: dict[str, Any] = {
            "file": self.file, "examples": self.examples, "bytes": self.bytes, "sha256": self.sha256
        }  # fmt: skip
        return entry if self.groups is None else {**entry, "groups": list(self.groups)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The record files of one split, in order."""

    shards: tuple[ShardFile, ...]

    @property
    def examples(self) -> int:
        return sum(shard.examples for shard in self.shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The description of a data folder.

    For classification, a record's label minus ``label_offset`` is the index into ``class_names``. For detection, a
    label is a category id, and ``category_ids`` lists the id of each class name, ascending. ``head_size`` is the number
    of logits of a network for this data. It exceeds ``class_count`` for ImageNet, whose published networks have 1001
    logits; for detection it is the largest id plus one, so that each id can be the index of its logit. With
    ``multi_label`` an image may have several labels, or none. ``source_sha256`` is the sum modulo 2^256 of the SHA-256
    of each example's name and content, so it depends neither on the order of the examples nor on the number of shards.
    """

    class_names: tuple[str, ...]
    class_count: int
    head_size: int
    splits: Mapping[str, Split] = field(default_factory=dict)
    label_offset: int = 1
    task: str = "classification"
    source_sha256: str | None = None
    created_by: str | None = None
    category_ids: tuple[int, ...] | None = None
    multi_label: bool = False

    def to_json(self) -> str:
        """The text of ``dataset.json``; the same manifest always gives the same text."""
        splits = {
            name: {
                "examples": split.examples,
                "shards": [shard.to_json() for shard in split.shards],
            }
            for name, split in self.splits.items()
        }
        content: dict[str, Any] = {
            "format": FORMAT,
            "task": self.task,
            "class_names": list(self.class_names),
            "class_count": self.class_count,
            "head_size": self.head_size,
            "label_offset": self.label_offset,
            "splits": splits,
            "source_sha256": self.source_sha256,
            "created_by": self.created_by,
        }
        if self.category_ids is not None:
            content["category_ids"] = list(self.category_ids)
        if self.multi_label:
            content["multi_label"] = True
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: bytes | str) -> Manifest:
        """Parses the text of ``to_json``.

        Raises:
            ValueError: The text is not a manifest of this format; the message says what is wrong.
        """
        try:
            content = json.loads(text.decode() if isinstance(text, bytes) else text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it {why_no_json(text, error)}") from error
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        version = typed(content, "format", int)
        if version != FORMAT:
            raise ValueError(f"its format is {version}, and this version reads format {FORMAT}")
        splits = typed(content, "splits", dict)
        manifest = cls(
            class_names=tuple(typed_list(content, "class_names", str)),
            class_count=typed(content, "class_count", int, least=0, most=_MOST_LABEL),
            head_size=typed(content, "head_size", int, least=0, most=_MOST_LABEL),
            label_offset=typed(content, "label_offset", int, least=0, most=_MOST_LABEL),
            task=typed(content, "task", str),
            splits={name: _split_from(name, splits[name]) for name in splits},
            source_sha256=typed(content, "source_sha256", str, optional=True),
            created_by=typed(content, "created_by", str, optional=True),
            category_ids=tuple(typed_list(content, "category_ids", int)) if "category_ids" in content else None,
            multi_label=content.get("multi_label", False),
        )
        manifest._check()
        return manifest

    def _check(self) -> None:
        files = Counter(shard.file for split in self.splits.values() for shard in split.shards)
        for file, times in files.most_common(1):
            if times > 1:
                raise ValueError(f"it lists {shortened(file)} {times} times")
        if self.class_count < 1 or self.class_count != len(self.class_names):
            raise ValueError(f'"class_count" is {self.class_count}, and there are {len(self.class_names)} class names')
        if self.head_size < self.class_count:
            raise ValueError(f'"head_size" is {self.head_size}, below the {self.class_count} classes')
        if not isinstance(self.multi_label, bool):
            raise ValueError(f'"multi_label" is {shortened(self.multi_label)}, and must be true or false')
        if self.task not in TASKS:
            raise ValueError(f'"task" is {self.task!r}, and must be one of {", ".join(TASKS)}')
        if self.task == "detection":
            self._check_categories(self.category_ids or ())
        elif self.category_ids is not None:
            raise ValueError(f'"category_ids" are for the task detection, and the task is {self.task}')

    def _check_categories(self, ids: tuple[int, ...]) -> None:
        if len(set(self.class_names)) != self.class_count:
            raise ValueError('"class_names" has a name twice')
        if len(ids) != self.class_count:
            raise ValueError(f'"category_ids" has {len(ids)} ids, and there are {self.class_count} class names')
        if min(ids) < 0 or list(ids) != sorted(set(ids)):
            raise ValueError('"category_ids" must be 0 or more, and ascend')
        if self.head_size <= ids[-1]:
            raise ValueError(f'"head_size" is {self.head_size}, and must exceed {ids[-1]}, the largest category id')


def _split_from(name: str, content: Any) -> Split:
    if not isinstance(content, dict):
        raise ValueError(f'its split "{name}" is not a JSON object')
    split = Split(
        shards=tuple(
            ShardFile(
                file=_plain_name(typed(shard, "file", str)),
                examples=typed(shard, "examples", int, least=0, most=_MOST_EXAMPLES),
                bytes=typed(shard, "bytes", int, optional=True, least=0),
                sha256=typed(shard, "sha256", str, optional=True),
                groups=tuple(typed_list(shard, "groups", str)) if "groups" in shard else None,
            )
            for shard in typed_list(content, "shards", dict)
        )
    )
    for shard in split.shards:
        if shard.groups is not None and len(shard.groups) != shard.examples:
            raise ValueError(f'{shortened(shard.file)} has {len(shard.groups)} "groups" for {shard.examples} examples')
    if split.examples != typed(content, "examples", int, least=0):
        raise ValueError(f'its split "{name}" says {content["examples"]} examples, its shards {split.examples}')
    return split


def _plain_name(name: str) -> str:
    """The name of a record file, which must lie in the folder itself."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f'"file" is {shortened(name)}, and must be the name of a file in the folder of the manifest')
    return name


def write_manifest(data_dir: StrPath, manifest: Manifest) -> None:
    """Writes ``dataset.json`` atomically."""
    write_atomically(Path(data_dir) / MANIFEST_NAME, manifest.to_json().encode())


def read_manifest(data_dir: StrPath) -> Manifest | None:
    """The manifest of a data folder, or None if there is no ``dataset.json``.

    Raises:
        RunError: The manifest cannot be read or is invalid.
    """
    path = Path(data_dir) / MANIFEST_NAME
    try:
        return Manifest.from_json(read_regular(path, most=_MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise RunError(f"{path}: is not a valid manifest: {error}; {CONVERTERS} rewrites it") from error


LEADS_OUTSIDE = "is a link to a file outside the folder of its manifest"


def leads_outside(folder: Path, file: str) -> bool:
    """Returns whether a listed record file is a link out of the data folder.

    A folder of links to a whole data set leads nowhere else: its files lie beside the manifest that its link leads to.
    """
    target = (folder / file).resolve()
    return not any(place in target.parents for place in (folder.resolve(), (folder / MANIFEST_NAME).resolve().parent))


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
