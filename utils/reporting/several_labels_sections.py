"""The report sections for classifiers of images with several labels: figures by class, mistakes (no TF)."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from utils.reporting.class_sections import NO_PICTURE
from utils.reporting.names import class_names, quoted_class
from utils.reporting.page import bar, folded, notes, section, table

_OPEN = 40
"""A table with more classes shows only the worst; the whole table is folded."""
_HEADERS = ["class", "average precision", "precision", "recall", "F1", "ROC-AUC", "images with it", "named", "both"]


def several_labels_sections(evaluation: Mapping[str, Any]) -> list[str]:
    """The sections as HTML."""
    names = class_names(evaluation)
    return [
        section("Figures by class", _by_class(evaluation, names)),
        section("The most confident mistakes", _mistakes(evaluation, names)),
    ]


def _by_class(evaluation: Mapping[str, Any], names: Mapping[int, str]) -> str:
    rows = []
    for number, (counts, figures) in enumerate(zip(evaluation["classes"], evaluation["class_metrics"], strict=True)):
        precision, recall, f1, area, average = figures
        shown = bar(average) if average is not None else "no image"
        cells = [names[number], shown, precision, recall, f1, area, *counts]
        rows.append((average is None, average or 0.0, number, cells))
    rows.sort(key=lambda row: row[:3])
    cells = [row[3] for row in rows]
    if len(cells) <= _OPEN:
        return table(_HEADERS, cells)
    worst = f"<h3>The {_OPEN} worst classes</h3>{table(_HEADERS, cells[:_OPEN])}"
    return worst + folded(f"All {len(cells)} classes, the worst first", table(_HEADERS, cells))


def _mistakes(evaluation: Mapping[str, Any], names: Mapping[int, str]) -> str:
    figures = []
    for entry in evaluation["pictures"]:
        lines = [
            _line(f"{quoted_class(names, number)} ({probability:.2f})", named=probability >= 0.5, there=bool(there))
            for number, probability, there in entry["classes"]
        ]
        jpeg = entry.get("jpeg")
        source = f'<img alt="example {entry["index"]}" src="data:image/jpeg;base64,{escape(jpeg)}">' if jpeg else ""
        caption = "<br>".join([*lines, f"example {entry['index']} of the split"])
        figures.append(f"<figure>{source or NO_PICTURE}<figcaption>{caption}</figcaption></figure>")
    return f'<div class="pictures">{"".join(figures)}</div>' if figures else notes(["There are no mistakes."])


def _line(text: str, *, named: bool, there: bool) -> str:
    if named == there:
        return escape(text)
    return f'<span class="wrong">{"missed" if there else "wrongly"} {escape(text)}</span>'
