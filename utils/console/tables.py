"""Aligned lines and small tables that fit the width of a terminal (no TF)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from utils.console.figures import percent, significant
from utils.console.screen import Rows

EPOCH, STEP, BATCH = "epoch", "step", "batch"
RATES = ("imgs_per_sec", "total_ips")
WAITING = "input_wait_share"
LOSS = "total_loss"
LATENCY, THROUGHPUT = "latency_", "throughput"

_GAP = "  "
_FIGURE = 9  # width of a number with four significant digits
_WIDTHS = {EPOCH: 5, STEP: 7, BATCH: 7, WAITING: 7}
_SIZES = ("small", "medium", "large")
_HEADINGS = {
    LOSS: "loss",
    "l2_loss": "L2 loss",
    "learning_rate": "LR",
    "classification_loss": "classes",
    "localization_loss": "boxes",
    WAITING: "waiting",
    THROUGHPUT: "images/s",
    f"{LATENCY}avg": "ms a batch",
    **dict.fromkeys(RATES, "images/s"),
    "Precision/mAP": "AP",
    "Precision/mAP@.50IOU": "AP50",
    "Precision/mAP@.75IOU": "AP75",
    **{f"Precision/mAP ({size})": f"AP {size}" for size in _SIZES},
    **{f"Recall/AR@{most}": f"AR{most}" for most in (1, 10, 100)},
    **{f"Recall/AR@100 ({size})": f"AR {size}" for size in _SIZES},
}


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


def heading(key: str) -> str:
    """The heading for a log key."""
    if key.startswith("top") and key.endswith("_accuracy"):
        return f"top-{key.removeprefix('top').removesuffix('_accuracy')}"
    return _HEADINGS.get(key) or key.removeprefix(LATENCY).replace("_", " ")


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
