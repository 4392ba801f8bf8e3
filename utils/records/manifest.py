"""The manifest ``dataset.json`` beside the records (no TF)."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.errors import RunError
from utils.files.atomic_file import write_atomically
from utils.files.file_kind import why_no_json
from utils.files.json_values import shortened, typed, typed_list
from utils.files.regular_file import read_regular
from utils.records.record_files import CONVERTERS

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
