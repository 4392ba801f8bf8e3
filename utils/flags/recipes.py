"""Recipe files: ``@file`` on the command line stands for the flags in that file, one per line.

A line is written as on the command line (``--lr_init 0.256`` or ``--lr_init=0.256``, quoted as in a shell). ``#``
begins a comment. ``@other.args`` includes another recipe; its path is relative to the including file. Later flags win.
Imports no TensorFlow.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from utils.errors import UsageError
from utils.files.regular_file import open_regular
from utils.suggestions import path_hint

DEEPEST = 20
"""Recipes that include each other in turn."""
MOST_LINES = 2_000
LARGEST_FILE = 2**20


class RecipeArgument(str):
    """An argument that came from a recipe; ``origin`` is "file, line n"."""

    __slots__ = ("origin",)
    origin: str

    def __new__(cls, text: str, origin: str) -> RecipeArgument:
        argument = super().__new__(cls, text)
        argument.origin = origin
        return argument


def origin_of(argument: str) -> str | None:
    """The recipe file and line of an argument; None if it was typed on the command line."""
    return argument.origin if isinstance(argument, RecipeArgument) else None


def expand(argv: Sequence[str]) -> list[str]:
    """The arguments with every ``@file`` replaced by the file's flags, in order.

    Raises:
        UsageError: A file cannot be read, a line is not one flag, or files include each other, or too many; the message
            names file and line.
    """
    expanded: list[str] = []
    read = _Reader()
    for argument in argv:
        if argument.startswith("@"):
            expanded.extend(read(Path(argument[1:]), argument, {}))
        else:
            expanded.append(argument)
    return expanded


class _Reader:
    """Reads the recipes of a command line; all of them together have a limited length."""

    def __init__(self) -> None:
        self._left = MOST_LINES

    def __call__(self, path: Path, wanted_by: str, including: Mapping[Path, Path]) -> Iterator[RecipeArgument]:
        lines = _lines(path, wanted_by)
        place = path.resolve()
        if place in including:
            last = [*including.values()][-1]
            raise UsageError(f"{wanted_by}: {path} and {last} include each other; a recipe cannot contain itself")
        if len(including) == DEEPEST:
            raise UsageError(f"{wanted_by}: {DEEPEST} recipes include each other in turn; no more are read")
        for number, line in enumerate(lines, start=1):
            origin = f"{path}, line {number}"
            self._left -= 1
            if self._left < 0:
                raise UsageError(f"{origin}: recipes have more than {MOST_LINES:,} lines together, counted as included")
            words = _words(line, origin)
            if words and words[0].startswith("@"):
                yield from self(path.parent / words[0][1:], f"{origin}: {words[0]}", {**including, place: path})
            else:
                yield from (RecipeArgument(word, origin) for word in words)


def _lines(path: Path, wanted_by: str) -> list[str]:
    try:
        with open_regular(path) as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise UsageError(f"{wanted_by}: {path} has more than {LARGEST_FILE // 2**20} MiB; it is no recipe file")
        return content.decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UsageError(f"{wanted_by}: there is no recipe file {path}{path_hint(path)}") from None
    except IsADirectoryError:
        raise UsageError(f"{wanted_by}: {path} is a folder; must be a recipe file, one flag a line") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{wanted_by}: {path} is not a text file in UTF-8 ({error.reason})") from None
    except OSError as error:
        raise UsageError(f"{wanted_by}: cannot read {path}: {error.strerror}") from None


def _words(line: str, origin: str) -> list[str]:
    """The words of a line, split as in a shell: nothing, an include, a flag, or a flag and its value."""
    if "\0" in line:
        raise UsageError(f"{origin}: {line.strip()}: holds a NUL byte, which no flag can hold")
    try:
        words = shlex.split(_without_comment(line))
    except ValueError as error:
        raise UsageError(f"{origin}: {line.strip()}: {str(error).lower()}; quote a value as in a shell") from None
    if not words:
        return []
    if not words[0].startswith(("--", "@")):
        raise UsageError(f"{origin}: {words[0]}: a line must be a flag (--name value), @another.args or a # comment")
    most = 1 if words[0].startswith("@") or "=" in words[0] else 2
    if len(words) > most or any(word.startswith("--") for word in words[1:]):
        raise UsageError(f"{origin}: {line.strip()}: one flag a line; quote a value that contains spaces")
    return words


def _without_comment(line: str) -> str:
    """Cuts the line at a ``#`` that begins a word outside quotes, as a shell does; ``shlex`` also cuts inside words."""
    quote = previous = ""
    for place, character in enumerate(line):
        if character == "#" and not quote and (not previous or previous.isspace()):
            return line[:place]
        if previous == "\\" and quote != "'":
            character = "escaped"
        elif character in "\"'" and quote in ("", character):
            quote = "" if quote else character
        previous = character
    return line
