"""Reader of the ``--class_names`` file with human-readable class names (no TF)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from utils.errors import RunError, UsageError
from utils.files.regular_file import read_regular
from utils.suggestions import path_hint
from utils.text import plural

_MOST_BYTES = 64 << 20


def read_class_names(path: str | Path, folders: Sequence[str]) -> tuple[str, ...]:
    """The name of each class, in the order of its folders.

    Args:
        path: A file with one name per line in label order, or with lines "folder TAB name" in any order. The latter may
            list other folders too, like ImageNet's ``imagenet_metadata.txt`` with lines "synset TAB name".
        folders: The class folders (for ImageNet the synsets) in label order.

    Raises:
        RunError: The file cannot be read.
        UsageError: It is not text, or does not name each class exactly once.
    """
    lines = _lines(path)
    tabbed = ["\t" in line for _, line in lines]
    if any(tabbed) and not all(tabbed):
        number = lines[tabbed.index(False)][0]
        raise UsageError(f"--class_names {path}: line {number} has no TAB, but others do; must be folder TAB name")
    return _by_folder(path, lines, folders) if all(tabbed) else _in_order(path, lines, folders)


def read_names_in_order(path: str | Path) -> tuple[str, ...]:
    """The names that a file lists in label order, one per line: a name, or synset, tab and name.

    Synsets must be unique, or names if there are no synsets: ImageNet has two classes named "crane".

    Raises:
        RunError: The file cannot be read.
        UsageError: It is not text, is empty, or lists a class twice.
    """
    names: list[str] = []
    first: dict[str, int] = {}
    for number, line in _lines(path):
        class_id, _, name = (part.strip() for part in line.partition("\t"))
        if class_id in first:
            raise UsageError(f"--class_names {path}: lines {first[class_id]} and {number} are both {class_id!r}")
        first[class_id] = number
        names.append(name or class_id)
    return tuple(names)


def _lines(path: str | Path) -> list[tuple[int, str]]:
    """The non-empty lines of a file with their numbers."""
    try:
        text = read_regular(path, most=_MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        kind, reason = (
            (RunError, error.strerror) if isinstance(error, OSError) else (UsageError, "it is not UTF-8 text")
        )
        raise kind(f"--class_names {path}: cannot be read ({reason}){path_hint(path)}") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise UsageError(f"--class_names {path}: is empty; must hold one class name per line")
    return lines


def _in_order(path: str | Path, lines: Sequence[tuple[int, str]], folders: Sequence[str]) -> tuple[str, ...]:
    if len(lines) != len(folders):
        raise UsageError(
            f"--class_names {path}: has {plural(len(lines), 'name')}; must have one for each of {len(folders)} classes"
        )
    first: dict[str, int] = {}
    for number, name in lines:
        if name in first:
            raise UsageError(f"--class_names {path}: lines {first[name]} and {number} are both {name!r}; must differ")
        first[name] = number
    return tuple(name for _, name in lines)


def _by_folder(path: str | Path, lines: Sequence[tuple[int, str]], folders: Sequence[str]) -> tuple[str, ...]:
    """Names from lines "folder TAB name"; two folders may share a name, like ImageNet's two synsets for "crane"."""
    names: dict[str, str] = {}
    for number, line in lines:
        folder, name = (normalize("NFC", part.strip()) for part in line.split("\t", 1))
        if names.setdefault(folder, name) != name:
            raise UsageError(f"--class_names {path}: line {number} names {folder} a second time with another name")
    missing = [folder for folder in folders if not names.get(folder)]
    if missing:
        raise UsageError(
            f"--class_names {path}: has no name for {plural(len(missing), 'class')}; the first is {missing[0]}"
        )
    return tuple(names[folder] for folder in folders)
