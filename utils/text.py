"""Counts and names as messages write them (no TF)."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """A count with its noun: "1 image", "1,282 images", "2 classes"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "es" if noun.endswith(("s", "x")) else "s")


def one_line(text: str) -> str:
    """A text as ``printable`` shows it, with a blank for each break and each run of blanks."""
    return printable(" ".join(text.split()))


def printable(name: str) -> str:
    """``name`` fit for any terminal: bytes that are not UTF-8 and control characters are shown as escapes."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
