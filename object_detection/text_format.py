"""Tokenizer of protobuf's text format, the format of label maps and pipeline configs (no TF).

Source: protobuf.dev/reference/protobuf/textformat-spec.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

Kind = Literal["text", "mark", "word", "open_quote", "end"]
CLOSING = {"{": "}", "<": ">", "[": "]"}

_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<mark>[{}<>\[\],;:])
    |(?P<word>[^\s{}<>\[\],;:"'\#]+)
    |(?P<open_quote>["'])""",
    re.VERBOSE,
)


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
