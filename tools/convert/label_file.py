"""Files that list images with their labels: CSV tables, JSON, or JSON lines (no TF)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import RunError
from utils.files.file_kind import why_no_json
from utils.files.json_values import shortened, typed, typed_list
from utils.files.regular_file import read_regular
from utils.suggestions import path_hint

SEPARATOR = ";"
SPLITS = {"train": "train", "training": "train", "validation": "validation", "val": "validation", "valid": "validation"}
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedImage:
    """An image as a label file lists it.

    Attributes:
        file: Its path below the source folder.
        labels: The names of its classes, without repetition.
        split: "train", "validation", or None if the file does not say.
        where: The line or entry, for messages.
    """

    file: str
    labels: tuple[str, ...]
    split: str | None
    where: str


def read_label_file(path: Path) -> list[ListedImage]:
    """Reads a label file.

    A CSV table has the columns ``file``, ``labels`` (names separated by semicolons) and, if wanted, ``split``. A JSON
    file has a list of objects with these keys, or one such object a line; its ``labels`` are lists.

    Raises:
        RunError: The file cannot be read, or is no label file.
    """
    try:
        text = read_regular(path, most=_MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise RunError(f"--labels {path}: cannot be read ({error.strerror}){path_hint(path)}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"--labels {path}: is not text in UTF-8") from error
    entries = _json_entries(path, text) if text.lstrip()[:1] in ("[", "{") else _csv_entries(path, text)
    found = [_listed(path, where, entry) for where, entry in entries]
    first: dict[str, str] = {}
    for one in found:
        if one.file in first:
            raise RunError(f"--labels {path}: {first[one.file]} and {one.where} both list {one.file}")
        first[one.file] = one.where
    if not found:
        raise RunError(f"--labels {path}: lists no image")
    return found


def _csv_entries(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(table, [])]
        if not {"file", "labels"} <= set(header) <= {"file", "labels", "split"} or len(set(header)) < len(header):
            raise RunError(
                f"--labels {path}: its columns are {', '.join(header) or 'missing'}; must be file, labels and, if "
                "wanted, split"
            )
        for row in table:
            if not row:
                continue
            where = f"line {table.line_num}"
            if len(row) != len(header):
                raise RunError(f"--labels {path}: {where} has {len(row)} cells; must have {len(header)}")
            entry: dict[str, Any] = dict(zip(header, (cell.strip() for cell in row), strict=True))
            labels = [label.strip() for label in entry["labels"].split(SEPARATOR)]
            yield where, {**entry, "labels": [label for label in labels if label]}
    except csv.Error as error:
        raise RunError(f"--labels {path}: line {table.line_num}: {error}") from error


def _json_entries(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        if text.lstrip().startswith("["):
            yield from ((f"entry {number}", entry) for number, entry in enumerate(json.loads(text), 1))
            return
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield f"line {number}", json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RunError(f"--labels {path}: {why_no_json(text, error)}") from error


def _listed(path: Path, where: str, entry: Any) -> ListedImage:
    try:
        if not isinstance(entry, Mapping):
            raise ValueError(f"is {shortened(entry)}, and must be an object")
        if unknown := sorted(set(entry) - {"file", "labels", "split"}):
            raise ValueError(f'has "{unknown[0]}", and must have nothing but file, labels and split')
        file, labels = typed(entry, "file", str), typed_list(entry, "labels", str)
        split = typed(entry, "split", str, optional=True) or None
        if split is not None and split.casefold() not in SPLITS:
            raise ValueError(f'"split" is {shortened(split)}, and must be train or validation')
        parts = file.split("/")
        if not file or "" in parts or ".." in parts or "\0" in file:
            raise ValueError(f'"file" is {shortened(file)}, and must be a path below SRC')
        if any(not label.strip() or SEPARATOR in label for label in labels):
            raise ValueError(f'"labels" has {shortened(labels)}, and must have names without "{SEPARATOR}"')
    except ValueError as error:
        raise RunError(f"--labels {path}: {where}: {error}") from error
    return ListedImage(
        file="/".join(part for part in parts if part != "."),
        labels=tuple(dict.fromkeys(label.strip() for label in labels)),
        split=None if split is None else SPLITS[split.casefold()],
        where=where,
    )
