"""The manifest ``dataset.json`` beside the records, and the files of a split as every reader gets them (no TF)."""

from __future__ import annotations

import json
import logging
import os
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from utils.atomic_file import write_atomically
from utils.errors import RunError
from utils.tfrecord_file import count_records

MANIFEST_NAME = "dataset.json"
CONVERSION_FOLDER = ".convert"  # what the converter notes of its progress, beside the records
FORMAT = 1
TASKS = ("classification", "detection")
LABEL_OFFSET = 1  # the first label that the converter writes, and that of records without a manifest
IMAGENET_CLASSES = 1000
IMAGENET_HEAD = 1001  # one output for each class, and one that no label uses

StrPath = str | os.PathLike[str]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """One record file: its name in the data folder, and its size and SHA-256 where they are known."""

    file: str
    examples: int
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The record files of one split, in order."""

    shards: tuple[ShardFile, ...]

    @property
    def examples(self) -> int:
        return sum(shard.examples for shard in self.shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a data folder holds.

    A record's label minus ``label_offset`` is the index into ``class_names``. ``head_size`` is the number of logits a
    network for this data has; it exceeds ``class_count`` for ImageNet, whose published networks have 1001.
    ``source_sha256`` is the sum modulo 2^256 of the SHA-256 of each example's name and content, so it depends neither
    on the order of the examples nor on the number of shards.
    """

    class_names: tuple[str, ...]
    class_count: int
    head_size: int
    splits: Mapping[str, Split] = field(default_factory=dict)
    label_offset: int = 1
    task: str = "classification"
    source_sha256: str | None = None
    created_by: str | None = None

    def to_json(self) -> str:
        """The text of ``dataset.json``; the same manifest always gives the same text."""
        splits = {
            name: {
                "examples": split.examples,
                "shards": [
                    {"file": shard.file, "examples": shard.examples, "bytes": shard.bytes, "sha256": shard.sha256}
                    for shard in split.shards
                ],
            }
            for name, split in self.splits.items()
        }
        content = {
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
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Reads what ``to_json`` wrote.

        Raises:
            ValueError: the text is not a manifest of this format; the message says what is wrong.
        """
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        version = _get(content, "format", int)
        if version != FORMAT:
            raise ValueError(f"its format is {version}, and this version reads format {FORMAT}")
        splits = _get(content, "splits", dict)
        manifest = cls(
            class_names=tuple(_list_of(content, "class_names", str)),
            class_count=_get(content, "class_count", int),
            head_size=_get(content, "head_size", int),
            label_offset=_get(content, "label_offset", int),
            task=_get(content, "task", str),
            splits={name: _split_from(name, splits[name]) for name in splits},
            source_sha256=_get(content, "source_sha256", str, optional=True),
            created_by=_get(content, "created_by", str, optional=True),
        )
        manifest._check()
        return manifest

    def _check(self) -> None:
        if self.class_count < 1 or self.class_count != len(self.class_names):
            raise ValueError(f'"class_count" is {self.class_count}, and there are {len(self.class_names)} class names')
        if self.head_size < self.class_count:
            raise ValueError(f'"head_size" is {self.head_size}, below the {self.class_count} classes')
        if self.task not in TASKS:
            raise ValueError(f'"task" is {self.task!r}, and must be one of {", ".join(TASKS)}')


def _get(content: Mapping[str, Any], key: str, kind: type, *, optional: bool = False) -> Any:
    value = content.get(key)
    if optional and value is None:
        return None
    if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and value < 0):
        raise ValueError(f'"{key}" is {value!r}, and must be of the kind {kind.__name__}')
    return value


def _list_of(content: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    values: list[Any] = _get(content, key, list)
    if not all(isinstance(value, kind) for value in values):
        raise ValueError(f'"{key}" must hold values of the kind {kind.__name__} alone')
    return values


def _split_from(name: str, content: Any) -> Split:
    if not isinstance(content, dict):
        raise ValueError(f'its split "{name}" is not a JSON object')
    split = Split(
        shards=tuple(
            ShardFile(
                file=_get(shard, "file", str),
                examples=_get(shard, "examples", int),
                bytes=_get(shard, "bytes", int, optional=True),
                sha256=_get(shard, "sha256", str, optional=True),
            )
            for shard in _list_of(content, "shards", dict)
        )
    )
    if split.examples != _get(content, "examples", int):
        raise ValueError(f'its split "{name}" says {content["examples"]} examples, its shards {split.examples}')
    return split


def write_manifest(data_dir: StrPath, manifest: Manifest) -> None:
    """Writes ``dataset.json``, complete or not at all."""
    write_atomically(Path(data_dir) / MANIFEST_NAME, manifest.to_json().encode())


def read_manifest(data_dir: StrPath) -> Manifest | None:
    """The manifest of a data folder, or None where there is no ``dataset.json``.

    Raises:
        RunError: there is one, and it cannot be read or is not sound.
    """
    path = Path(data_dir) / MANIFEST_NAME
    try:
        return Manifest.from_json(path.read_bytes().decode())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are among them
        raise RunError(
            f"{path}: is not a sound manifest: {error}; `python -m utils.convert_dataset` writes it anew"
        ) from error


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """The record files of a split in reading order, with the number of examples in each."""

    paths: tuple[str, ...]
    counts: tuple[int, ...]
    manifest: Manifest | None = None

    @property
    def examples(self) -> int:
        return sum(self.counts)

    @property
    def offsets(self) -> tuple[int, ...]:
        """The index in the split of each file's first example."""
        return tuple(accumulate(self.counts[:-1], initial=0)) if self.counts else ()

    def locate(self, example_index: int) -> tuple[str, int]:
        """The file of an example of the split, and its record number in it (from 0)."""
        if not 0 <= example_index < self.examples:
            raise IndexError(f"example {example_index} of a split of {self.examples}")
        offsets = self.offsets
        file = bisect_right(offsets, example_index) - 1
        return self.paths[file], example_index - offsets[file]


@cache
def _count_once(path: str, size: int, modified_ns: int) -> int:
    """Counts the records of a file; ``size`` and ``modified_ns`` tell a changed file from the one counted before."""
    del size, modified_ns
    return count_records(path)


def _count(path: Path) -> int:
    status = path.stat()
    return _count_once(str(path), status.st_size, status.st_mtime_ns)


def load_split(data_dir: StrPath, split: str) -> SplitFiles:
    """The files of a split ("train" or "validation"), checked against the manifest where there is one.

    Without a manifest the files are those named ``<split>-*``, and their records are counted, once a process.

    Raises:
        RunError: the folder is missing, has no such split, or a file is missing or cut off.
    """
    folder = Path(data_dir)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise RunError(f"--data_dir {data_dir}: {what}; it must hold the records that training reads")
    manifest = read_manifest(folder)
    if manifest is None:
        return _files_by_name(folder, split)
    if split not in manifest.splits or not manifest.splits[split].examples:
        there = ", ".join(f"{name} ({part.examples} examples)" for name, part in manifest.splits.items()) or "nothing"
        raise RunError(f"--data_dir {data_dir}: its {MANIFEST_NAME} has no {split} examples; it has {there}")
    shards = manifest.splits[split].shards
    for shard in shards:
        _check_file(folder, shard)
    return SplitFiles(
        tuple(str(folder / shard.file) for shard in shards), tuple(shard.examples for shard in shards), manifest
    )


def _check_file(folder: Path, shard: ShardFile) -> None:
    path = folder / shard.file
    if not path.is_file():
        raise RunError(f"{path}: is missing; {MANIFEST_NAME} of --data_dir {folder} lists it")
    size = path.stat().st_size
    if shard.bytes is not None and size != shard.bytes:
        what = "was cut off" if size < shard.bytes else "was changed"
        raise RunError(
            f"{path}: {what}: it has {size} bytes and {MANIFEST_NAME} of --data_dir {folder} says {shard.bytes}; "
            "copy it again, or convert the data set again"
        )


def _files_by_name(folder: Path, split: str) -> SplitFiles:
    if (folder / CONVERSION_FOLDER).is_dir():
        raise RunError(
            f"--data_dir {folder}: its conversion was never completed, so there is no {MANIFEST_NAME}; run the same "
            "`python -m utils.convert_dataset` command again"
        )
    paths = sorted(path for path in folder.glob(f"{split}-*") if path.is_file())
    if not paths:
        names = sorted(path.name for path in folder.iterdir())
        there = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"
        raise RunError(
            f"--data_dir {folder}: no file is named {split}-* and there is no {MANIFEST_NAME}; "
            f"the folder holds {there}; `python -m utils.convert_dataset` makes the records from images"
        )
    counts = tuple(_count(path) for path in paths)
    if not sum(counts):
        raise RunError(f"--data_dir {folder}: its {len(paths)} files named {split}-* hold no record")
    _log.info(
        "%s has no %s, so the records were counted: %d in %d %s files; `python -m utils.convert_dataset` writes one",
        *(folder, MANIFEST_NAME, sum(counts), len(paths), split),
    )
    return SplitFiles(tuple(str(path) for path in paths), counts)
