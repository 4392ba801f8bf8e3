"""Charts as SVG images for a page, or as PNG files; the only module that imports matplotlib, on first use (no TF).

Each function except ``png`` returns an ``img`` element with the SVG inline, so the pictures of a page share no names
and need no network. Text stays text: the browser has fonts for scripts that matplotlib's own font lacks.
"""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from utils.reporting.names import short

Line = tuple[Sequence[float], Sequence[float]]
"""The x values and the y values."""

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "axes.axisbelow": True,
    "axes.edgecolor": "#8b95a1",
    "legend.frameon": False,
}
COLORS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#65a30d", "#475569", "#a16207")
_FADED = "#c3cad3"
_MOST_POINTS = 800
_LABEL_LENGTH = 28
_SIZE = (5.6, 3.3)
_PX_AN_INCH = 105


def lines(
    title: str, series: Mapping[str, Line], *, x: str, y: str, marked: bool = False, log_scale: bool = False
) -> str:
    """Curves over a common axis.

    Args:
        title: Title above the chart.
        series: Curves by name. Those beyond the number of colors are grey; earlier ones are drawn on top.
        x: Label of the x axis.
        y: Label of the y axis.
        marked: Draw each point.
        log_scale: Use a logarithmic y axis if all values are positive.
    """

    def draw(axes: Any) -> None:
        for rank, (name, (across, up)) in reversed([*enumerate(series.items())]):
            across, up = _thinned(across, up)
            color, shown = (COLORS[rank], label(name)) if rank < len(COLORS) else (_FADED, None)
            mark = "o" if marked or len(across) == 1 else None
            axes.plot(across, up, color=color, label=shown, marker=mark, markersize=3.5, linewidth=1.3)
        if log_scale and all(value > 0 for _, up in series.values() for value in up):
            axes.set_yscale("log")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if len(series) > 1:
            handles, labels = axes.get_legend_handles_labels()
            axes.legend(handles[::-1], labels[::-1], fontsize=8)

    return _chart(title, draw)


def histogram(title: str, edges: Sequence[float], counts: Sequence[float], *, x: str, y: str) -> str:
    """A histogram of counts; there is one more edge than counts."""

    def draw(axes: Any) -> None:
        axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=COLORS[0], edgecolor="white", linewidth=0.4)
        axes.set_xlabel(x)
        axes.set_ylabel(y)

    return _chart(title, draw)


def calibration(title: str, bins: Sequence[Sequence[Any]]) -> str:
    """A calibration plot, accuracy over confidence; bins of [count, mean confidence, accuracy]."""

    def draw(axes: Any) -> None:
        there = [row for row in bins if row[0] and row[1] is not None and row[2] is not None]
        most = max((row[0] for row in there), default=1)
        axes.plot([0, 1], [0, 1], color="#8b95a1", linestyle="--", linewidth=1, label="perfect calibration")
        axes.scatter(
            [row[1] for row in there],
            [row[2] for row in there],
            s=[25 + 150 * row[0] / most for row in there],
            color=COLORS[0],
            alpha=0.8,
            label="a tenth of the confidence range; larger: more images",
        )
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("mean confidence")
        axes.set_ylabel("accuracy")
        axes.legend(fontsize=8, loc="upper left")

    return _chart(title, draw)


def heat_map(title: str, table: np.ndarray, names: tuple[Sequence[str], Sequence[str]] | None) -> str:
    """A heat map of a table ``[r, c]`` of fractions in [0, 1].

    Args:
        title: Title above the chart.
        table: The fractions, one row per true class and one column per predicted class.
        names: Names of the rows and of the columns, if there is room for them; then the cells show their numbers too.
    """
    rows, columns = names or ((), ())
    side = min(9.0, 2.6 + 0.26 * max(len(rows), len(columns))) if names else 5.2

    def draw(axes: Any) -> None:
        axes.grid(visible=False)
        # "none" keeps one pixel per class; the browser enlarges it.
        axes.imshow(table, cmap="Blues", vmin=0, vmax=1, interpolation="none", aspect="auto")
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        if not names:
            return
        axes.set_yticks(range(len(rows)), [label(name) for name in rows], fontsize=7)
        axes.set_xticks(range(len(columns)), [label(name) for name in columns], rotation=90, fontsize=7)
        for row, column in zip(*np.nonzero(table >= 0.005), strict=True):
            share = table[row, column]
            color = "white" if share > 0.55 else "#1f2933"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=6.5, color=color)

    return _chart(title, draw, size=(side + 0.6, side), fitted=True)


def _chart(title: str, draw: Callable[[Any], None], size: tuple[float, float] = _SIZE, *, fitted: bool = False) -> str:
    """Draws one set of axes and returns it as an image.

    Args:
        title: Title above the axes.
        draw: Function that draws into the axes.
        size: Width and height in inches.
        fitted: Fit the margins to long names, which takes as long as drawing.
    """
    with _quietly():
        return _image(title, _svg(title, draw, size, fitted=fitted), size[0])


def png(draw: Callable[[Any], None], size: tuple[float, float]) -> bytes:
    """A chart as a PNG file with margins fitted to its content.

    Args:
        draw: Function that draws into a matplotlib figure.
        size: Width and height in inches of 105 pixels.
    """
    with _quietly():
        import matplotlib  # not at the top: most runs draw nothing
        from matplotlib.figure import Figure

        with matplotlib.rc_context(_STYLE):
            figure = Figure(figsize=size, layout="constrained")
            draw(figure)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=_PX_AN_INCH)
            return buffer.getvalue()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silences matplotlib's messages about building its font cache and about missing glyphs."""
    noise = logging.getLogger("matplotlib")
    before = noise.level
    noise.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        noise.setLevel(before)


def _svg(title: str, draw: Callable[[Any], None], size: tuple[float, float], *, fitted: bool) -> bytes:
    import matplotlib  # not at the top: most runs draw nothing
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained" if fitted else None)
        axes = figure.add_subplot()
        if not fitted:
            figure.subplots_adjust(left=0.13, right=0.97, top=0.9, bottom=0.15)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        draw(axes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()


def label(name: str) -> str:
    """A name shortened for a chart and escaped so that matplotlib does not parse it as a formula."""
    return short(name, _LABEL_LENGTH).replace("$", r"\$")


def _image(title: str, svg: bytes, width: float) -> str:
    source = base64.b64encode(svg).decode("ascii")
    style = f"max-width: {width * _PX_AN_INCH:.0f}px"
    return f'<img class="chart" style="{style}" alt="{escape(title)}" src="data:image/svg+xml;base64,{source}">'


def _thinned(across: Sequence[float], up: Sequence[float]) -> Line:
    """A curve with fewer points: the lowest and the highest of each stretch, so that no peak is lost."""
    if len(across) <= _MOST_POINTS:
        return across, up
    kept = []
    for rows in np.array_split(np.arange(len(up)), _MOST_POINTS // 2):
        values = np.asarray(up)[rows]
        kept += sorted({int(rows[values.argmin()]), int(rows[values.argmax()])})
    return [across[row] for row in kept], [up[row] for row in kept]
