"""Reader and tokenizer of protobuf's text format, the format of label maps and pipeline configs (no TF).

Source: protobuf.dev/reference/protobuf/textformat-spec.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

from utils.files.file_kind import BEGIN_BYTES, conflict_line, kind_of_bytes
from utils.files.regular_file import open_regular

Kind = Literal["text", "mark", "word", "open_quote", "end"]
CLOSING = {"{": "}", "<": ">", "[": "]"}

LARGEST_FILE = 2**24
"""Bytes of the largest file; a label map of 20,000 classes has a tenth."""
_LONGEST_REASON = 300
_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<mark>[{}<>\[\],;:])
    |(?P<word>[^\s{}<>\[\],;:"'\#]+)
    |(?P<open_quote>["'])""",
    re.VERBOSE,
)


class FaultError(Exception):
    """A fault in a text, with its line."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what if len(what) <= _LONGEST_REASON else f"{what[:_LONGEST_REASON]}...")
        self.line = line


def read_source(path: str | os.PathLike[str]) -> str:
    """Reads a file of text; a byte order mark at its beginning is no part of it.

    Raises:
        OSError: The file cannot be read.
        FaultError: The file is too large, holds something else than text, or two versions of it.
    """
    with open_regular(path) as file:
        content = file.read(LARGEST_FILE + 1)
    if content and (kind := kind_of_bytes(content[:BEGIN_BYTES])):
        raise FaultError(1, f"is {kind}")
    if len(content) > LARGEST_FILE:
        raise FaultError(1, f"the file has more than {LARGEST_FILE // 2**20} MiB and cannot be one of these texts")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FaultError(content.count(b"\n", 0, error.start) + 1, f"is not UTF-8 text ({error.reason})") from None
    if "\0" in text:
        raise FaultError(text.count("\n", 0, text.index("\0")) + 1, "is not text: it holds a NUL byte")
    if line := conflict_line(content):
        raise FaultError(line, "is a conflict marker: version control left two versions here; keep one")
    return text


@dataclass(frozen=True, slots=True)
class Token:
    """A token, with its line and column, both counted from 1.

    A "text" is quoted in either kind of quotes; an "open_quote" is one that its line does not close. A "word" may hold
    characters that the format does not allow.
    """

    kind: Kind
    value: str
    line: int
    column: int


def tokenize(text: str) -> Iterator[Token]:
    """Yields the tokens of a text without blanks and comments, "end" last."""
    line, line_start = 1, 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "blank":
            yield Token(cast(Kind, match.lastgroup), match.group(), line, match.start() - line_start + 1)
        elif newlines := match.group().count("\n"):
            line += newlines
            line_start = match.start() + match.group().rindex("\n") + 1
    yield Token("end", "the end of the file", line, len(text) - line_start + 1)


class TokenReader:
    """A reader of tokens with a lookahead of one."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._rest = iter(tokens)
        self.next = next(self._rest)

    @property
    def at_end(self) -> bool:
        """True if no token is left."""
        return self.next.kind == "end"

    def take(self) -> Token:
        """Returns the next token and advances, except at the end."""
        token = self.next
        if not self.at_end:
            self.next = next(self._rest)
        return token

    def skip(self, mark: str) -> bool:
        """Skips this mark if it comes next; returns whether it did."""
        found = self.next.kind == "mark" and self.next.value == mark
        if found:
            self.take()
        return found
