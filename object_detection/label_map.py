"""Label maps: the text files that say which id stands for which class (no TF).

A file holds items ``item { id: 1 name: "cat" display_name: "Cat" }`` in protobuf's text format; fields may come in any
order, with comments, in either kind of quotes, and fields that this module does not know are passed over.

Source: protobuf.dev/reference/protobuf/textformat-spec.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import RunError
from utils.files.atomic_file import write_atomically

BACKGROUND = "background"

StrPath = str | os.PathLike[str]

_TOKEN = re.compile(
    r"""(?P<blank>[\s,;]+|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<word>[\w.+-]+)
    |(?P<mark>[{}<>\[\]:/])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    rb"""\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))""", re.DOTALL
)
_LETTERS = {
    **{b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"},
    **{mark: mark for mark in (b"\\", b"'", b'"', b"?")},
}
_CLOSING = {"{": "}", "<": ">", "[": "]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A class: the id that records and predictions carry, and its names; either of the two may be empty."""

    id: int
    name: str
    display_name: str = ""

    @property
    def title(self) -> str:
        """What people call it."""
        return self.display_name or self.name

    @property
    def is_background(self) -> bool:
        """Whether this is no class of objects: some maps list what is around them under id 0."""
        return self.id == 0 and BACKGROUND in (self.name, self.display_name)


def read_label_map(path: StrPath) -> tuple[Category, ...]:
    """Reads a label map.

    Returns:
        The classes by ascending id.

    Raises:
        RunError: the file cannot be read, is no label map, or two of its items have an id or a name in common.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: is not a label map: it is not UTF-8 text ({error.reason})") from error
    return parse_label_map(text, str(path))


def parse_label_map(text: str, where: str) -> tuple[Category, ...]:
    """As ``read_label_map``, of the text of a file that messages call ``where``."""
    try:
        categories = _checked(list(_items(_Tokens(text))))
    except _FaultError as fault:
        raise RunError(f"{where}: line {fault.line}: {fault}") from fault
    if not categories:
        raise RunError(f"{where}: holds no item; a label map holds one for each class: item {{ id: 1 name: 'cat' }}")
    return tuple(sorted(categories, key=lambda category: category.id))


def label_map_text(categories: Sequence[Category]) -> str:
    """The text of a label map, which ``parse_label_map`` reads back as the same classes."""
    return "\n".join(
        "item {\n"
        f"  id: {category.id}\n"
        f'  name: "{_escaped(category.name)}"\n'
        f'  display_name: "{_escaped(category.display_name)}"\n'
        "}\n"
        for category in categories
    )


def write_label_map(path: StrPath, categories: Sequence[Category]) -> None:
    """Writes a label map, complete or not at all."""
    write_atomically(Path(path), label_map_text(categories).encode())


def _escaped(text: str) -> str:
    special = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return "".join(special.get(character, character) for character in text)


class _FaultError(Exception):
    """What is wrong with a label map, and on which line."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # text, word, mark, or end
    value: str
    line: int


class _Tokens:
    """The tokens of a text, one ahead."""

    def __init__(self, text: str) -> None:
        self._rest = self._scan(text)
        self.next = next(self._rest)

    @staticmethod
    def _scan(text: str) -> Iterator[_Token]:
        position, line = 0, 1
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                what = "a text that does not end" if text[position] in "'\"" else repr(text[position])
                raise _FaultError(line, f"{what} is not part of a label map")
            kind, value = str(found.lastgroup), found.group()
            if kind != "blank":
                yield _Token(kind, value, line)
            line += value.count("\n")
            position = found.end()
        yield _Token("end", "the end of the file", line)

    def take(self) -> _Token:
        token = self.next
        if token.kind != "end":
            self.next = next(self._rest)
        return token

    def expect(self, *values: str) -> _Token:
        token = self.take()
        if token.kind not in ("mark", "word") or token.value not in values:
            raise _FaultError(token.line, f"{token.value} stands where {' or '.join(values)} must")
        return token


def _items(tokens: _Tokens) -> Iterator[tuple[int, Category]]:
    """Yields the line and the class of each item."""
    while tokens.next.kind != "end":
        start = tokens.expect("item")
        if tokens.next.value == ":":
            tokens.take()
        closing = _CLOSING[tokens.expect("{", "<").value]
        fields: dict[str, str] = {}
        while tokens.next.kind == "word":
            name, value = _field(tokens)
            if name in fields and value is not None:
                raise _FaultError(start.line, f"the item has {name} twice")
            if value is not None:
                fields[name] = value
        tokens.expect(closing)
        yield start.line, _category(fields, start.line)


def _field(tokens: _Tokens) -> tuple[str, str | None]:
    """A field's name, and its value where it is one that counts."""
    name = tokens.take()
    if tokens.next.value == ":":
        tokens.take()
    elif tokens.next.value not in ("{", "<"):
        raise _FaultError(tokens.next.line, f"{tokens.next.value} stands where : must, after {name.value}")
    value = tokens.take()
    if value.kind == "mark":
        _pass_over(tokens, value)
    texts = [value]
    while value.kind == "text" and tokens.next.kind == "text":  # neighbours are one text
        texts.append(tokens.take())
    if name.value in ("name", "display_name"):
        if value.kind != "text":
            raise _FaultError(value.line, f"{name.value} is {value.value}, and must be a text in quotes")
        return name.value, "".join(_unescaped(text) for text in texts)
    if name.value == "id":
        if re.fullmatch(r"[+-]?\d{1,10}", value.value) is None:
            raise _FaultError(value.line, f"id is {value.value}, and must be a whole number")
        return "id", value.value
    if value.kind == "end":
        raise _FaultError(value.line, "the file ends inside an item")
    return name.value, None


def _pass_over(tokens: _Tokens, opening: _Token) -> None:
    """Skips a message or a list whose opening bracket was taken."""
    expected = [_CLOSING.get(opening.value)]
    while expected:
        token = tokens.take()
        if token.kind == "end" or expected[-1] is None:
            raise _FaultError(opening.line, f"{opening.value} has no counterpart")
        if token.kind == "mark" and token.value in _CLOSING:
            expected.append(_CLOSING[token.value])
        elif token.kind == "mark" and token.value == expected[-1]:
            expected.pop()


def _unescaped(token: _Token) -> str:
    def replacement(found: re.Match[bytes]) -> bytes:
        octal, hexadecimal, short, long, letter = found.groups()
        if octal or hexadecimal:
            return bytes([int(octal, 8) & 0xFF if octal else int(hexadecimal, 16)])
        if short or long:
            return chr(int(short or long, 16)).encode()
        if letter not in _LETTERS:
            raise ValueError(f"unknown escape \\{letter.decode(errors='replace')}")
        return _LETTERS[letter]

    try:
        return _ESCAPE.sub(replacement, token.value[1:-1].encode()).decode()
    except (ValueError, OverflowError) as error:
        raise _FaultError(token.line, f"the text {token.value} cannot be read ({error})") from error


def _category(fields: Mapping[str, str], line: int) -> Category:
    if "id" not in fields:
        raise _FaultError(line, "the item has no id")
    category = Category(id=int(fields["id"]), name=fields.get("name", ""), display_name=fields.get("display_name", ""))
    if not category.title:
        raise _FaultError(line, f"the item with id {category.id} has neither name nor display_name")
    if category.id < 0:
        raise _FaultError(line, f"id {category.id} of {category.title!r}: must be 0 or more")
    return category


def _checked(items: Sequence[tuple[int, Category]]) -> list[Category]:
    """The classes, none of which shares its id or one of its names with another."""
    seen: dict[tuple[str, int | str], int] = {}
    for line, category in items:
        for key in (("id", category.id), ("name", category.name), ("display_name", category.display_name)):
            if key[1] == "":
                continue
            if key in seen:
                raise _FaultError(line, f"{key[0]} {key[1]!r} is that of the item on line {seen[key]} too")
            seen[key] = line
    return [category for _, category in items]
