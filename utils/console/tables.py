"""Aligned lines and small tables that fit the width of a terminal (no TF)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from utils.console.figures import significant
from utils.console.screen import Rows
from utils.metric_names import WAITING, heading
from utils.text import percent

EPOCH, STEP, BATCH = "epoch", "step", "batch"
_GAP = "  "
_FIGURE = 9  # width of a number with four significant digits
_WIDTHS = {EPOCH: 5, STEP: 7, BATCH: 7, WAITING: 7}


class Column(NamedTuple):
    """A column of figures, right-aligned."""

    key: str
    heading: str
    width: int

    def cell(self, value: Any) -> str:
        """A value in the unit and width of the column; None gives an empty cell."""
        if not isinstance(value, str):
            value = "" if value is None else percent(value) if self.key == WAITING else significant(value)
        return str(value).rjust(self.width)


def fitting(keys: Sequence[str], width: int, important: Iterable[str] = ()) -> list[Column]:
    """The columns that fit the width, in the order of the keys.

    Args:
        keys: Log keys of the values; earlier ones take precedence.
        width: Width of the terminal.
        important: Keys that take precedence over all others.
    """
    columns = {key: Column(key, heading(key), max(len(heading(key)), _WIDTHS.get(key, _FIGURE))) for key in keys}
    kept, left = set(), width + len(_GAP)
    for key in dict.fromkeys((*(key for key in important if key in columns), *keys)):
        left -= columns[key].width + len(_GAP)
        if left < 0:
            break
        kept.add(key)
    return [column for key, column in columns.items() if key in kept]


def heading_line(columns: Sequence[Column], first: str = "") -> Text:
    """The headings of columns, optionally after that of a column of names."""
    return line([*([first] if first else []), *(column.heading.rjust(column.width) for column in columns)], "bold")


def figures_line(columns: Sequence[Column], values: Mapping[str, Any], style: str = "") -> Text:
    """A row of figures."""
    return line([column.cell(values.get(column.key)) for column in columns], style)


def line(cells: Iterable[str], style: str = "") -> Text:
    """Cells on one line, which is cut at the edge of the terminal."""
    return Text(_GAP.join(cells), style=style, no_wrap=True, overflow="crop")


def pairs(rows: Rows, *, right: bool = False) -> Table:
    """A table of labels and texts; texts wrap within their column, figures are right-aligned."""
    grid = Table.grid(padding=(0, len(_GAP), 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold", justify="right" if right else "left")
    for label, text in rows:
        grid.add_row(Text(label), Text(text))
    return grid


def figures_table(rows: Iterable[tuple[str, Any, tuple[float, float] | None]]) -> Table:
    """A table of labels, numbers and the ends of their intervals, if known."""
    rows = [*rows]
    grid = Table.grid(padding=(0, len(_GAP), 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    for _ in range(2 if any(interval for *_, interval in rows) else 1):
        grid.add_column(overflow="fold", justify="right")
    for label, value, interval in rows:
        ends = [Text(between(interval), style="dim")] if interval else []
        grid.add_row(Text(label), Text(significant(value)), *ends)
    return grid


def between(interval: tuple[float, float]) -> str:
    """An interval in words: "0.4713 to 0.7063"."""
    return f"{significant(interval[0])} to {significant(interval[1])}"
