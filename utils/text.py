"""Counts and names formatted for messages (no TF)."""

from __future__ import annotations

from collections.abc import Sequence


def plural(count: int, noun: str) -> str:
    """A count with its noun: "1 image", "1,282 images", "2 classes", "2 entries"."""
    if count != 1 and noun.endswith("ry"):
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}" + ("" if count == 1 else "es" if noun.endswith(("s", "x", "tch")) else "s")


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage: "21.6 %"."""
    return f"{100.0 * share:.1f} %"


def first_and_more(names: Sequence[str], noun: str) -> str:
    """The first name and the number of the others: "a", "a and 1 more variable", "a and 1,281 more variables"."""
    return f"{names[0]} and {plural(len(names) - 1, f'more {noun}')}" if len(names) > 1 else names[0]


def first_few(names: Sequence[str], most: int = 5) -> str:
    """The first names and the number of the others: "a, b", "a, b, c, d, e and 7 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(printable, names[:most])) + more


def similar_names(names: Sequence[str]) -> list[str]:
    """A phrase for each group of names that differ only in capitals or blanks."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault("".join(name.casefold().split()), []).append(printable(name))
    return [f"{' and '.join(group)} differ only in capitals or blanks" for group in groups.values() if len(group) > 1]


def one_line(text: str) -> str:
    """A text on one printable line: each line break or run of blanks becomes one blank."""
    return printable(" ".join(text.split()))


def printable(name: str) -> str:
    """``name`` made safe for any terminal: control characters and bytes that are not UTF-8 appear as escapes."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
