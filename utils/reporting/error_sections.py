"""The report sections on a detector's errors: kinds and their cost, precision over IoU and size, pictures (no TF)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from utils.reporting import charts
from utils.reporting.box_pictures import box_pictures, legend
from utils.reporting.evaluation_file import ERROR_PICTURES, ERRORS
from utils.reporting.names import class_names
from utils.reporting.page import folded, grid, notes, section, table

_MEANING = {
    "classification": "on an object of another category",
    "localization": "beside an object of its category",
    "both": "beside an object of another category",
    "duplicate": "on an object that a better detection has found",
    "background": "on no object",
    "missed": "objects not found, not even as the first two kinds",
    "false positives": "all wrong detections together",
    "false negatives": "all objects that were not found",
}


def error_sections(evaluation: Mapping[str, Any]) -> list[str]:
    """The sections as HTML; none for files of older versions."""
    errors = evaluation.get(ERRORS)
    if errors is None:
        return []
    names = class_names(evaluation)
    return [
        section("What the errors cost", _explained(errors), _by_kind(errors, evaluation), _by_class(errors, names)),
        section("Average precision by IoU and object size", _curves(errors), _precision_by_class(errors, names)),
        section("The worst errors of each kind", _pictures(evaluation, names)),
    ]


def error_comparison(runs: Sequence[tuple[str, Mapping[str, Any] | None]]) -> str:
    """A table of the costs, a row for each run that has them; empty if none has.

    Args:
        runs: The name and the evaluation of each run.
    """
    known = [(name, evaluation[ERRORS]) for name, evaluation in runs if evaluation and ERRORS in evaluation]
    costs = [{row["kind"]: row["cost"] for row in errors["kinds"]} for _, errors in known]
    kinds = [*dict.fromkeys(kind for row in costs for kind in row)]
    rows = [
        [name, errors["average_precision"], *(_cost(row.get(kind)) for kind in kinds)]
        for (name, errors), row in zip(known, costs, strict=True)
    ]
    said = "Average precision at IoU 0.5, and what it would gain if errors of one kind alone were fixed."
    return notes([said]) + table(["run", "AP at IoU 0.5", *kinds], rows) if rows else ""


def _explained(errors: Mapping[str, Any]) -> str:
    now = f"average precision at IoU {errors['foreground']} (now {errors['average_precision']:.3f})"
    return notes(
        [
            f"Cost: the gain of {now} if errors of this kind alone were fixed. Costs do not add up.",
            f"An overlap below an IoU of {errors['background']} is background.",
        ]
    )


def _by_kind(errors: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    sure = f"score at least {evaluation['operating_score']:.2f}"
    rows = [
        [row["kind"], _MEANING.get(row["kind"], ""), _cost(row["cost"]), row["sure"], row["count"]]
        for row in errors["kinds"]
    ]
    return table(["kind", "", "cost", sure, "any score"], rows)


def _cost(value: float | None) -> Any:
    """A cost as a number; one that is not known in words."""
    return round(value, 4) if value is not None else "no object left"


def _by_class(errors: Mapping[str, Any], names: Mapping[int, str]) -> str:
    """The costs in each category's own average precision, and the counts."""
    kinds = [row["kind"] for row in errors["kinds"]]
    rows = [row for row in errors["classes"] if row["by_iou"][0] >= 0]
    of_costs = [[names[row["id"]], row["by_iou"][0], *map(_cost, row["costs"])] for row in rows]
    of_counts = [[names[row["id"]], *row["counts"]] for row in errors["classes"]]
    return "\n".join(
        [
            folded("Costs by category", table(["category", "AP at IoU 0.5", *kinds], of_costs)),
            folded("Errors of any score by category", table(["category", *kinds], of_counts)),
        ]
    )


def _curves(errors: Mapping[str, Any]) -> str:
    ious = errors["ious"]
    series = {size: (ious, values) for size, values in errors["by_iou"].items() if min(values, default=-1) >= 0}
    if not series:
        return ""
    return grid(charts.lines("Average precision by IoU and object size", series, x="IoU", y="AP", marked=True))


def _precision_by_class(errors: Mapping[str, Any], names: Mapping[int, str]) -> str:
    """Average precision of each category at each IoU, and by size as the mean over them; -1 without objects."""
    ious, sizes = errors["ious"], [*errors["by_iou"]]
    rows = [
        [names[row["id"]], *(row["by_size"].get(size) for size in sizes), *row["by_iou"]] for row in errors["classes"]
    ]
    content = table(["category", *sizes, *(f"IoU {iou:.2f}" for iou in ious)], rows)
    return folded("Average precision by category, size and IoU", content)


def _pictures(evaluation: Mapping[str, Any], names: Mapping[int, str]) -> str:
    entries = evaluation[ERROR_PICTURES]
    parts = []
    for kind in dict.fromkeys(entry["error"] for entry in entries):
        said = f"{kind}: {_MEANING[kind]}" if kind in _MEANING else kind
        shown = box_pictures([entry for entry in entries if entry["error"] == kind], names)
        parts.append(f"<h3>{escape(said[:1].upper() + said[1:])}</h3>\n{shown}")
    return "\n".join([legend(("wrong", "object", "right", "missed")), *parts]) if parts else ""
