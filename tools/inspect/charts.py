"""Charts of a data set as PNG files: classes, boxes and the learning rate (no TF)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.image_sizes import ImageSize
from utils.reporting.charts import COLORS, label, png

MOST_BARS = 40
_ENDS = 20  # classes shown at either end if there are more than ``MOST_BARS``
_BAR_INCHES = 0.24
_SCATTERED = 4000

Array = NDArray[Any]


class ClassRow(NamedTuple):
    """A class and its count in each split."""

    name: str
    counts: Mapping[str, int]


def shown_rows(rows: Sequence[ClassRow], split: str) -> tuple[list[ClassRow], bool]:
    """The rows of a chart (the most and the least frequent of many classes), and whether some are left out."""
    if len(rows) <= MOST_BARS:
        return list(rows), False
    ordered = sorted(rows, key=lambda row: -row.counts.get(split, 0))
    return [*ordered[:_ENDS], *ordered[-_ENDS:]], True


def class_chart(rows: Sequence[ClassRow], splits: Sequence[str], unit: str) -> bytes:
    """Draws the counts of the classes as bars, and for many classes also all counts by rank.

    Args:
        rows: All classes.
        splits: Names of the splits, one color each; with many classes, the first split orders them.
        unit: Name of the counted things.
    """
    shown, cut = shown_rows(rows, splits[0])
    height = max(2.6, 1.0 + _BAR_INCHES * len(shown)) + (2.6 if cut else 0)

    def draw(figure: Any) -> None:
        if not cut:
            axes = figure.subplots()
            _bars(axes, shown, splits, unit, f"{len(rows):,} classes")
            axes.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(splits))
            return
        upper, lower = figure.subplots(2, 1, height_ratios=[_BAR_INCHES * len(shown), 2.2])
        what = f"{len(rows):,} classes: the {_ENDS} with most and the {_ENDS} with fewest {unit} for {splits[0]}"
        _bars(upper, shown, splits, unit, what)
        upper.legend(fontsize=8, loc="lower right", frameon=True)
        upper.axhline(_ENDS - 0.5, color="#8b95a1", linestyle="--", linewidth=1)
        _ranks(lower, rows, splits, unit)

    return png(draw, (8.5, height))


def _bars(axes: Any, rows: Sequence[ClassRow], splits: Sequence[str], unit: str, title: str) -> None:
    thickness = 0.8 / len(splits)
    places = np.arange(len(rows))
    for number, split in enumerate(splits):
        counts = [row.counts.get(split, 0) for row in rows]
        where = places + (number - (len(splits) - 1) / 2) * thickness
        bars = axes.barh(where, counts, thickness, color=COLORS[number], label=split)
        axes.bar_label(bars, [f"{count:,}" for count in counts], fontsize=6.5, padding=2)
    axes.set_yticks(places, [label(row.name) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(unit)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")


def _ranks(axes: Any, rows: Sequence[ClassRow], splits: Sequence[str], unit: str) -> None:
    for number, split in enumerate(splits):
        counts = sorted((row.counts.get(split, 0) for row in rows), reverse=True)
        axes.plot(range(1, len(counts) + 1), counts, color=COLORS[number], label=split)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("class, by its rank")
    axes.set_ylabel(unit)
    axes.legend(fontsize=8)


class BoxSizes(NamedTuple):
    """Boxes as the network sees them.

    Attributes:
        sides: ``[B, 2]``, height and width in pixels of the network's input.
        overlaps: ``[B]``, intersection over union with the best anchor.
        anchor_sides: ``[S, 2]``, the heights and widths of the anchors.
        enough: Smallest overlap at which an anchor covers a box.
        size: Size of the network's input in pixels.
    """

    sides: Array
    overlaps: Array
    anchor_sides: Array
    enough: float
    size: ImageSize


def box_chart(boxes: BoxSizes, per_image: Sequence[int]) -> bytes:
    """Draws the sizes of boxes and anchors, the overlaps between them, and the number of objects per image."""
    covered = boxes.overlaps >= boxes.enough

    def draw(figure: Any) -> None:
        (first, second), (third, fourth) = figure.subplots(2, 2)
        _sizes(first, boxes, covered)
        _shapes(second, boxes, covered)
        _overlaps(third, boxes, covered)
        most = max(per_image, default=0)
        fourth.hist(per_image, np.arange(-0.5, most + 1.5) if most < 60 else 60, color=COLORS[0])
        _name(fourth, "Objects per image", "objects", "images")

    return png(draw, (11.5, 8.0))


def _sizes(axes: Any, boxes: BoxSizes, covered: Array) -> None:
    sides = np.sqrt(boxes.sides.prod(axis=1))
    edges = np.geomspace(max(1.0, 0.9 * sides.min()), max(2.0, 1.1 * sides.max()), 40)
    parts = [np.clip(sides[chosen], edges[0], None) for chosen in (covered, ~covered)]
    axes.hist(parts, edges, stacked=True, color=COLORS[:2], label=["covered", "not covered by an anchor"])
    anchors = np.unique(np.sqrt(boxes.anchor_sides.prod(axis=1)).round(2))
    for side in anchors[anchors <= edges[-1]]:
        axes.axvline(side, color="#8b95a1", linestyle=":", linewidth=1)
    _logarithmic(axes.xaxis, edges)
    axes.legend(fontsize=8)
    what = f"Size at {boxes.size} px: square root of the area; dotted: anchors"
    _name(axes, what, "px", "boxes")


def _shapes(axes: Any, boxes: BoxSizes, covered: Array) -> None:
    chosen = np.random.default_rng(0).permutation(len(covered))[:_SCATTERED]
    for color, some in ((COLORS[0], chosen[covered[chosen]]), (COLORS[1], chosen[~covered[chosen]])):
        axes.scatter(boxes.sides[some, 1], boxes.sides[some, 0], s=5, color=color, alpha=0.4, linewidths=0)
    axes.scatter(boxes.anchor_sides[:, 1], boxes.anchor_sides[:, 0], marker="+", color="black", label="anchors")
    for axis, column in ((axes.xaxis, 1), (axes.yaxis, 0)):
        both = np.concatenate([boxes.sides[:, column], boxes.anchor_sides[:, column]])
        _logarithmic(axis, both)
    axes.legend(fontsize=8, loc="lower right")
    _name(axes, "Width and height", "width in px", "height in px")


def _overlaps(axes: Any, boxes: BoxSizes, covered: Array) -> None:
    edges = np.linspace(0, 1, 41)
    axes.hist([boxes.overlaps[covered], boxes.overlaps[~covered]], edges, stacked=True, color=COLORS[:2])
    axes.axvline(boxes.enough, color="black", linestyle="--", linewidth=1)
    _name(axes, f"Overlap with the best anchor; {boxes.enough:g} covers", "intersection over union", "boxes")


def _logarithmic(axis: Any, values: Array) -> None:
    """Sets a base-2 logarithmic scale with plain numbers."""
    low, high = np.floor(np.log2(max(1.0, values.min()))), np.ceil(np.log2(max(2.0, values.max())))
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    ticks = 2.0 ** np.arange(low, high + 1)
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def _name(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def rate_chart(steps: Array, rates: Array, steps_per_epoch: int) -> bytes:
    """Draws the learning rate by step, with the epochs on top."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(steps, rates, color=COLORS[0], marker="o" if len(steps) < 30 else None, markersize=3)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step")
        axes.set_ylabel("learning rate")
        upper = axes.secondary_xaxis("top", (lambda x: x / steps_per_epoch, lambda x: x * steps_per_epoch))
        upper.set_xlabel("epoch")

    return png(draw, (8.5, 4.2))
