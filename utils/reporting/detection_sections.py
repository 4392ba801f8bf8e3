"""The report sections for detectors: precision by category and recall, confusions, boxes (no TF)."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from utils.reporting import charts
from utils.reporting.confusion import Confusions, confusion_part, confusions
from utils.reporting.names import class_names, short
from utils.reporting.page import bar, folded, grid, notes, section, table

_TABLE_OPEN = 40
_WORST = 20
_NOTHING = -1
"""Category number that stands for "no object" or "no detection"."""
_COLORS = {"wrong": "#ef4444", "right": "#22c55e", "missed": "#f59e0b"}
_KINDS = {"wrong": "false alarm", "right": "found", "missed": "missed"}


def detection_sections(evaluation: Mapping[str, Any]) -> list[str]:
    """The sections as HTML."""
    names = class_names(evaluation)
    score = evaluation["operating_score"]
    said = notes([f"Counted at an IoU of 0.5, for detections with a score of at least {score:.2f}."])
    return [
        section("Average precision by category", said, _by_category(evaluation)),
        section("Precision and recall", grid(_curves(evaluation, names))),
        section("Confusions", confusion_part(_confusions(evaluation), evaluation, names, "objects")),
        section("False alarms and misses", _pictures(evaluation, names)),
    ]


def _by_category(evaluation: Mapping[str, Any]) -> str:
    rows = sorted(evaluation["classes"], key=lambda row: (row["objects"] == 0, row["average_precision"], row["id"]))
    cells = [
        [
            row["name"],
            bar(row["average_precision"]) if row["average_precision"] >= 0 else "-1: no object",
            "{:.3f} to {:.3f}".format(*row["interval"]) if row.get("interval") else "",
            *(row[key] for key in ("objects", "detections", "right", "wrong", "missed")),
        ]
        for row in rows
    ]
    headers = [
        "category",
        "average precision",
        "95 % interval",
        "objects",
        "detections of any score",
        "right",
        "wrong",
        "missed",
    ]
    if len(cells) <= _TABLE_OPEN:
        return table(headers, cells)
    worst = f"<h3>The {_WORST} worst categories</h3>" + table(headers, cells[:_WORST])
    return worst + folded(f"All {len(cells)} categories, the worst first", table(headers, cells))


def _curves(evaluation: Mapping[str, Any], names: Mapping[int, str]) -> str:
    """Precision-recall curves: the mean first, then the categories by number of objects."""
    curves = {curve["id"]: curve["precision"] for curve in evaluation["curves"]}
    if not curves or len({len(curve) for curve in curves.values()}) != 1:
        return ""
    objects = {row["id"]: row["objects"] for row in evaluation["classes"]}
    order = sorted(curves, key=lambda category: (-objects.get(category, 0), category))
    recall = np.linspace(0, 1, len(curves[order[0]])).tolist()
    series: dict[str, charts.Line] = {}
    if len(curves) > 1:
        series["mean of all"] = (recall, np.mean([curves[category] for category in order], axis=0).tolist())
    for category in order:
        series[f"{short(names.get(category, ''))} ({category})"] = (recall, curves[category])
    return charts.lines("Precision by recall at IoU 0.5", series, x="recall", y="precision")


def _confusions(evaluation: Mapping[str, Any]) -> Confusions:
    """The confusions of the categories that occur; the last row and column stand for nothing."""
    pairs = [[_NOTHING if number is None else number for number in pair] for pair in evaluation["confusion"]]
    occurring = {number for of, answer, _ in pairs for number in (of, answer)}
    numbers = [row["id"] for row in evaluation["classes"] if row["id"] in occurring]
    return confusions([*numbers, _NOTHING] if numbers else [], pairs)


def _pictures(evaluation: Mapping[str, Any], names: Mapping[int, str]) -> str:
    figures = "".join(_figure(entry, names) for entry in evaluation["pictures"])
    if not figures:
        return notes(["There are no false alarms and no misses."])
    legend = " · ".join(f'<span class="{kind}">■ {escape(says)}</span>' for kind, says in _KINDS.items())
    return f'<p>{legend}</p>\n<div class="pictures wide">{figures}</div>'


def _figure(entry: Mapping[str, Any], names: Mapping[int, str]) -> str:
    """A picture with its boxes."""
    width, height = max(1, entry["width"]), max(1, entry["height"])
    jpeg = entry.get("jpeg")
    picture = (
        f'<image href="data:image/jpeg;base64,{escape(jpeg)}" width="{width}" height="{height}" '
        'preserveAspectRatio="none"/>'
        if jpeg
        else ""
    )
    boxes = "".join(_box(box, names, (width, height)) for box in entry["boxes"] if box["kind"] in _COLORS)
    counts = {kind: sum(box["kind"] == kind for box in entry["boxes"]) for kind in _KINDS}
    said = ", ".join(f'<span class="{kind}">{count} {kind}</span>' for kind, count in counts.items() if count)
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="image {entry["image_id"]}">'
        f"{picture}{boxes}</svg><figcaption>image {entry['image_id']}: {said}</figcaption></figure>"
    )


def _box(box: Mapping[str, Any], names: Mapping[int, str], size: tuple[int, int]) -> str:
    width, height = size
    ymin, xmin, ymax, xmax = (min(1.0, max(0.0, side)) for side in box["box"])
    kind, line = box["kind"], max(size) / 160
    score = "" if box["score"] is None else f" {box['score']:.2f}"
    label = f"{short(names.get(box['category'], str(box['category'])))}{score}"
    dashes = f' stroke-dasharray="{3 * line:.2f}"' if kind == "missed" else ""
    font = max(size) / 20
    left, right, upper, lower = xmin * width, xmax * width, ymin * height, ymax * height
    top = upper - font / 4 if upper > font else upper + font
    return (
        f'<g class="box"><title>{escape(f"{label}: {_KINDS[kind]}")}</title>'
        f'<rect x="{left:.2f}" y="{upper:.2f}" width="{right - left:.2f}" height="{lower - upper:.2f}" fill="none" '
        f'stroke="{_COLORS[kind]}" stroke-width="{line:.2f}"{dashes}/>'
        f'<text x="{left:.2f}" y="{top:.2f}" font-size="{font:.2f}" fill="{_COLORS[kind]}" stroke="black" '
        f'stroke-width="{font / 12:.2f}" paint-order="stroke">{escape(short(label, 26))}</text></g>'
    )
