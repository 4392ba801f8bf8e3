"""The report sections for classifiers: confusions, accuracy by class, calibration, mistakes (no TF)."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from utils.reporting import charts
from utils.reporting.confusion import Confusions, confusion_part, confusions
from utils.reporting.findings import calibration_gap
from utils.reporting.names import class_names, quoted_class
from utils.reporting.page import bar, folded, grid, notes, section, table
from utils.statistics.intervals import wilson

_TABLE_OPEN = 40
"""Tables with more classes show only their worst rows; the whole table is folded."""
_WORST = 20
_HEADERS = ["precision", "F1", "ROC-AUC", "average precision"]
_RECALL = 1  # among a class's metrics; it is the accuracy


def class_sections(evaluation: Mapping[str, Any]) -> list[str]:
    """The sections as HTML."""
    names = class_names(evaluation)
    return [
        section("Confusions", confusion_part(_confusions(evaluation), evaluation, names, "examples")),
        section("Accuracy by class", _by_class(evaluation, names)),
        section("Calibration", _calibration(evaluation)),
        section("The most confident mistakes", _mistakes(evaluation, names)),
    ]


def _confusions(evaluation: Mapping[str, Any]) -> Confusions:
    """The confusions of the classes with examples or predictions."""
    numbers = [n for n, row in enumerate(evaluation["classes"]) if row[0] or row[1]]
    return confusions(numbers, evaluation["confusion"])


def _by_class(evaluation: Mapping[str, Any], names: Mapping[int, str]) -> str:
    rows = [
        (right / examples if examples else 0.0, n, examples, answers, right)
        for n, (examples, answers, right) in enumerate(evaluation["classes"])
        if examples or answers or n < len(evaluation["class_names"] or ())
    ]
    rows.sort(key=lambda row: (row[2] == 0, row[0], row[1]))
    more = evaluation.get("class_metrics") or [()] * len(evaluation["classes"])
    cells = [
        [names[n], bar(share) if examples else "no example", _range(right, examples), examples, answers, right]
        + [value for column, value in enumerate(more[n]) if column != _RECALL]
        for share, n, examples, answers, right in rows
    ]
    headers = ["class", "accuracy", "95 % interval", "examples", "predictions", "correct"]
    headers += _HEADERS if evaluation.get("class_metrics") else []
    if len(cells) <= _TABLE_OPEN:
        return table(headers, cells)
    shares = [row[0] for row in rows if row[2]]
    chart = charts.histogram(
        "Distribution of class accuracies", *_counted(shares), x="accuracy of a class", y="classes"
    )
    worst = f"<div><h3>The {_WORST} worst classes</h3>{table(headers, cells[:_WORST])}</div>"
    return grid(chart, worst) + folded(f"All {len(cells)} classes, the worst first", table(headers, cells))


def _range(right: int, examples: int) -> str:
    """The interval of a class's accuracy."""
    if not 0 <= right <= examples or not examples:
        return ""
    low, high = wilson(right, examples)
    return f"{low:.3f} to {high:.3f}"


def _counted(shares: list[float]) -> tuple[list[float], list[float]]:
    counts, edges = np.histogram(shares, bins=20, range=(0, 1))
    return edges.tolist(), counts.tolist()


def _calibration(evaluation: Mapping[str, Any]) -> str:
    gap = calibration_gap(evaluation)
    if gap is None:
        return ""
    bins = evaluation["calibration"]
    total = sum(row[0] for row in bins)
    error = sum(row[0] * abs(row[1] - row[2]) for row in bins if row[0]) / total
    sentence = f"Mean confidence {gap[0]:.4f}, accuracy {gap[1]:.4f}; expected calibration error {error:.4f}."
    rows = [[f"{n / len(bins):.1f} to {(n + 1) / len(bins):.1f}", *row] for n, row in enumerate(bins)]
    headers = ["confidence", "images", "mean confidence", "accuracy"]
    return notes([sentence]) + grid(charts.calibration("Accuracy by confidence", bins), table(headers, rows))


def _mistakes(evaluation: Mapping[str, Any], names: Mapping[int, str]) -> str:
    figures = []
    for entry in evaluation["pictures"]:
        says = f"predicted {quoted_class(names, entry['answer'])} ({entry['confidence']:.2f})"
        truth = f"is {quoted_class(names, entry['label'])} ({entry['of_label']:.2f})"
        jpeg = entry.get("jpeg")
        source = f'<img alt="example {entry["index"]}" src="data:image/jpeg;base64,{escape(jpeg)}">' if jpeg else ""
        caption = (
            f'<span class="wrong">{escape(says)}</span><br>{escape(truth)}<br>example {entry["index"]} of the split'
        )
        figures.append(f"<figure>{source or NO_PICTURE}<figcaption>{caption}</figcaption></figure>")
    return f'<div class="pictures">{"".join(figures)}</div>' if figures else notes(["There are no mistakes."])


NO_PICTURE = '<div class="none">no picture</div>'
