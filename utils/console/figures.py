"""Numbers and names for people: four significant digits, units, and names that are safe to print (no TF)."""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from utils.text import one_line

_SMALL, _LARGE = 1e-3, 999.95  # outside of these, four digits are formatted differently
_THOUSANDS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_RIGHT_TO_LEFT = ("R", "AL", "RLE", "RLO", "RLI")
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"  # Unicode marks that isolate the direction of a text
_CUT = "..."
_SHORTEST_FOLDER = 8  # columns; less of a folder says nothing


def significant(value: Any) -> str:
    """A number with four significant digits; integers and large numbers keep all integer digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= _LARGE:
        return f"{value:,.0f}"
    return f"{value:.3e}" if abs(value) < _SMALL else f"{value:#.4g}"


def quantity(count: int, unit: str) -> str:
    """A count with an SI prefix: "11.69 M parameters" for the unit " parameters", "3.628 GFLOP" for "FLOP"."""
    for factor, prefix in _THOUSANDS:
        if count >= factor:
            return f"{significant(count / factor)} {prefix}{unit}"
    return f"{count} {unit.lstrip()}"


def duration(seconds: float) -> str:
    """A duration in clock format: 0:07, 3:45, 1:02:33, 2 d 03:15."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02}:{minute:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def plain_name(text: str, cells: int | None = None) -> str:
    """A name that is safe to print: on one line, without control characters, shortened in the middle if too long.

    Args:
        text: A name of any length and script.
        cells: Maximum width in columns; None for no limit.
    """
    return isolated(_shortened(one_line(text), cells))


def plain_paths(paths: Sequence[str], cells: int) -> list[str]:
    """Paths that are safe to print; if one is too long, their common folder is shortened first, then the rest.

    Args:
        paths: Paths of any length and script.
        cells: Maximum width in columns.
    """
    paths = [one_line(path) for path in paths]
    widest = max(map(cell_len, paths), default=0)
    folder = os.path.commonprefix(paths).rpartition("/")[0]  # noqa: RUF071  (ends before a slash)
    if folder and widest > cells:
        room = cells - (widest - cell_len(folder))
        short = _shortened(folder, room) if room >= _SHORTEST_FOLDER else _CUT
        paths = [f"{short}{path.removeprefix(folder)}" for path in paths]
    return [isolated(_shortened(path, cells)) for path in paths]


def _shortened(text: str, cells: int | None) -> str:
    """A text without its middle if it is wider than ``cells``."""
    if cells is None or cell_len(text) <= cells:
        return text
    end = max(0, (cells - len(_CUT)) // 3)
    return f"{set_cell_size(text, max(0, cells - end - len(_CUT)))}{_CUT}{_end_of(text, end)}"


def isolated(text: str) -> str:
    """A text whose right-to-left letters do not reorder the columns beside it."""
    mixed = any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text)
    return f"{_ISOLATE}{text}{_END_ISOLATE}" if mixed else text


def _end_of(text: str, cells: int) -> str:
    """The longest end of a text that fits the given number of columns."""
    start = len(text)
    while start > 0 and cell_len(text[start - 1 :]) <= cells:
        start -= 1
    return text[start:]
