"""The report sections for detectors: precision by category and recall, confusions, boxes (no TF)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from utils.reporting import charts
from utils.reporting.box_pictures import box_pictures, legend
from utils.reporting.confusion import Confusions, confusion_part, confusions
from utils.reporting.error_sections import error_sections
from utils.reporting.names import class_names, short
from utils.reporting.page import bar, folded, grid, notes, section, table

_TABLE_OPEN = 40
_WORST = 20
_NOTHING = -1
"""Category number that stands for "no object" or "no detection"."""


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
        *error_sections(evaluation),
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
    figures = box_pictures(evaluation["pictures"], names)
    if not figures:
        return notes(["There are no false alarms and no misses."])
    return legend(("wrong", "right", "missed")) + "\n" + figures
