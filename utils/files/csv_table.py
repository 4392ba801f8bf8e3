"""Tables in CSV whose texts a spreadsheet takes for texts, never for formulas (no TF)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The beginnings of a cell that spreadsheets run as a formula."""
_SPECIAL = frozenset(',"\r\n')


def csv_table(rows: Iterable[Sequence[Any]]) -> bytes:
    """Formats rows as CSV in UTF-8.

    A text that would begin a formula gets an apostrophe in front, which spreadsheets do not show. Numbers are written
    as they are, negative ones too. Python's own writer leaves a carriage return bare (3.11), after which a spreadsheet
    begins a new row.

    Source: https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return "".join(f"{','.join(map(_cell, row))}\n" for row in rows).encode()


def _cell(value: Any) -> str:
    text = f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else str(value)
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.intersection(text) else text
