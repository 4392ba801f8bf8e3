"""Label maps: text files that assign ids to classes (no TF).

A file holds items ``item { id: 1 name: "cat" display_name: "Cat" }`` in protobuf's text format. Fields may come in any
order, with comments and in either kind of quotes; unknown fields are skipped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from object_detection.text_format import CLOSING, FaultError, Token, TokenReader, read_source, tokenize
from utils.errors import RunError
from utils.suggestions import path_hint

BACKGROUND = "background"
COCO_LABEL_MAP = Path(__file__).resolve().parent / "data" / "mscoco_label_map.pbtxt"
"""The 80 classes of COCO, with ids up to 90."""

StrPath = str | os.PathLike[str]

_WORD = re.compile(r"(?P<word>[\w.+-]+)|(?P<mark>/)|(?P<stray>.)")
_ESCAPE = re.compile(
    rb"""\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))""", re.DOTALL
)
_LETTERS = {
    **{b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"},
    **{mark: mark for mark in (b"\\", b"'", b'"', b"?")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A class: the id in records and predictions, and its two names, one of which may be empty."""

    id: int
    name: str
    display_name: str = ""

    @property
    def title(self) -> str:
        """The name to show to people."""
        return self.display_name or self.name

    @property
    def is_background(self) -> bool:
        """True for the background, which some maps list under id 0."""
        return self.id == 0 and BACKGROUND in (self.name, self.display_name)


def read_label_map(path: StrPath) -> tuple[Category, ...]:
    """Reads a label map.

    Returns:
        The classes by ascending id.

    Raises:
        RunError: The file cannot be read, is not a label map, or two of its items share an id or a name.
    """
    try:
        text = read_source(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}){path_hint(path)}") from error
    except FaultError as fault:
        raise RunError(f"{path}: line {fault.line}: {fault}") from fault
    return parse_label_map(text, str(path))


def parse_label_map(text: str, where: str) -> tuple[Category, ...]:
    """Parses a label map's text like ``read_label_map``; messages call its file ``where``."""
    try:
        categories = _checked(list(_items(TokenReader(_tokens(text)))))
    except FaultError as fault:
        raise RunError(f"{where}: line {fault.line}: {fault}") from fault
    if not categories:
        raise RunError(f"{where}: holds no item; a label map holds one for each class: item {{ id: 1 name: 'cat' }}")
    return tuple(sorted(categories, key=lambda category: category.id))


def label_map_text(categories: Sequence[Category]) -> str:
    """Returns the text of a label map; ``parse_label_map`` reads it back as the same classes."""
    return "\n".join(
        "item {\n"
        f"  id: {category.id}\n"
        f'  name: "{_escaped(category.name)}"\n'
        f'  display_name: "{_escaped(category.display_name)}"\n'
        "}\n"
        for category in categories
    )


def _escaped(text: str) -> str:
    special = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return "".join(special.get(character, character) for character in text)


def _tokens(text: str) -> Iterator[Token]:
    """Yields the tokens without separators, which may stand between any two."""
    for token in tokenize(text):
        if token.kind == "open_quote":
            raise FaultError(token.line, "a text has no closing quote")
        if token.kind == "word":
            yield from _words(token)
        elif token.kind != "mark" or token.value not in ",;":
            yield token


def _words(token: Token) -> Iterator[Token]:
    """Yields the words of a token such as ``example.com/Type``, and the slashes between them."""
    for part in _WORD.finditer(token.value):
        if part["stray"]:
            raise FaultError(token.line, f"{part['stray']!r} is not part of a label map")
        yield replace(token, kind="word" if part["word"] else "mark", value=part.group())


def _expect(tokens: TokenReader, *values: str) -> Token:
    token = tokens.take()
    if token.kind not in ("mark", "word") or token.value not in values:
        raise FaultError(token.line, f"expected {' or '.join(values)}, found {token.value}")
    return token


def _items(tokens: TokenReader) -> Iterator[tuple[int, Category]]:
    """Yields the line and the class of each item."""
    while not tokens.at_end:
        start = _expect(tokens, "item")
        if tokens.next.value == ":":
            tokens.take()
        closing = CLOSING[_expect(tokens, "{", "<").value]
        fields: dict[str, str] = {}
        while tokens.next.kind == "word":
            name, value = _field(tokens)
            if name in fields and value is not None:
                raise FaultError(start.line, f"the item has {name} twice")
            if value is not None:
                fields[name] = value
        _expect(tokens, closing)
        yield start.line, _category(fields, start.line)


def _field(tokens: TokenReader) -> tuple[str, str | None]:
    """Reads a field and returns its name, with its value if it is ``id``, ``name`` or ``display_name``."""
    name = tokens.take()
    if tokens.next.value == ":":
        tokens.take()
    elif tokens.next.value not in ("{", "<"):
        raise FaultError(tokens.next.line, f"expected : after {name.value}, found {tokens.next.value}")
    value = tokens.take()
    if value.kind == "mark":
        _pass_over(tokens, value)
    texts = [value]
    while value.kind == "text" and tokens.next.kind == "text":  # adjacent texts are one
        texts.append(tokens.take())
    if name.value in ("name", "display_name"):
        if value.kind != "text":
            raise FaultError(value.line, f"{name.value} is {value.value}, and must be a text in quotes")
        return name.value, "".join(_unescaped(text) for text in texts)
    if name.value == "id":
        if re.fullmatch(r"[+-]?\d{1,10}", value.value) is None:
            raise FaultError(value.line, f"id is {value.value}, and must be a whole number")
        return "id", value.value
    if value.kind == "end":
        raise FaultError(value.line, "the file ends inside an item")
    return name.value, None


def _pass_over(tokens: TokenReader, opening: Token) -> None:
    """Skips the rest of a message or list after its opening bracket."""
    expected = [CLOSING.get(opening.value)]
    while expected:
        token = tokens.take()
        if token.kind == "end" or expected[-1] is None:
            raise FaultError(opening.line, f"{opening.value} has no matching bracket")
        if token.kind == "mark" and token.value in CLOSING:
            expected.append(CLOSING[token.value])
        elif token.kind == "mark" and token.value == expected[-1]:
            expected.pop()


def _unescaped(token: Token) -> str:
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
        raise FaultError(token.line, f"the text {token.value} cannot be read ({error})") from error


def _category(fields: Mapping[str, str], line: int) -> Category:
    if "id" not in fields:
        raise FaultError(line, "the item has no id")
    category = Category(id=int(fields["id"]), name=fields.get("name", ""), display_name=fields.get("display_name", ""))
    if not category.title:
        raise FaultError(line, f"the item with id {category.id} has neither name nor display_name")
    if category.id < 0:
        raise FaultError(line, f"id {category.id} of {category.title!r}: must be 0 or more")
    return category


def _checked(items: Sequence[tuple[int, Category]]) -> list[Category]:
    """Returns the classes after checking that no two share an id or a name."""
    seen: dict[tuple[str, int | str], int] = {}
    for line, category in items:
        for key in (("id", category.id), ("name", category.name), ("display_name", category.display_name)):
            if key[1] == "":
                continue
            if key in seen:
                raise FaultError(line, f"{key[0]} {key[1]!r} is already used by the item on line {seen[key]}")
            seen[key] = line
    return [category for _, category in items]
