"""Findings of an evaluation as sentences: classes never predicted, confused pairs, speed limits (no TF).

The thresholds below are chosen so that a sound evaluation of a few hundred images gives no findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from utils.reporting.evaluation_file import SEVERAL_LABELS
from utils.reporting.names import class_list, class_names, format_value, quoted_class
from utils.text import percent, plural

_CONFUSED_SHARE, _CONFUSED_COUNT = 0.15, 3
"""Fraction of a class, and number of its examples, from which a confused pair is named."""
_MOST_PAIRS = 5
_CALIBRATION_GAP = 0.1
_INPUT_BOUND, _COMPUTE_BOUND = 0.5, 0.15
"""Fractions of the time spent waiting for input."""
_NEARLY_ALL = 0.95


def findings(evaluation: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    """The findings of an evaluation.

    Args:
        evaluation: The content of the evaluation file, see ``utils.reporting.evaluation_file``.
        summary: The figures in the log for that evaluation.
    """
    return [*_OF_TASK[evaluation["task"]](evaluation), *speed_findings(summary)]


def speed_findings(summary: Mapping[str, Any], kind: str = "eval") -> list[str]:
    """A finding about what limited the speed, with the numbers; none if they are unknown.

    Args:
        summary: Figures under their log keys.
        kind: "eval" or "train".
    """
    share, speed = summary.get("input_wait_share"), summary.get(f"{kind}_throughput")
    if not isinstance(share, int | float) or not isinstance(speed, int | float):
        return []
    waited = f"{speed:.1f} images/s, {percent(share)} of the time waiting for input"
    if share >= _INPUT_BOUND:
        rest = f"; without waiting it would be {speed / (1 - share):.0f} images/s" if share < _NEARLY_ALL else ""
        return [f"Input-bound: {waited}{rest}. More threads, smaller images or --dali on a GPU would help."]
    if share <= _COMPUTE_BOUND:
        return [f"Compute-bound: {waited}. A faster input would not help."]
    return [f"Neither input nor computation alone limits the speed: {waited}."]


def confused_pairs(evaluation: Mapping[str, Any]) -> list[tuple[int, int, int, float]]:
    """The confused pairs: class, predicted class, count, fraction of the class; the most frequent first."""
    if evaluation["task"] == "classification":
        totals = {number: row[0] for number, row in enumerate(evaluation["classes"])}
    else:
        totals = {row["id"]: row["objects"] for row in evaluation["classes"]}
    pairs = [
        (of, answer, count, count / max(1, totals.get(of, 0)))
        for of, answer, count in evaluation["confusion"]
        if of != answer and of is not None and answer is not None
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], -pair[3], pair[0], pair[1]))


def calibration_gap(evaluation: Mapping[str, Any]) -> tuple[float, float] | None:
    """Mean confidence and accuracy of a classifier, or None if nothing was evaluated."""
    bins = [row for row in evaluation["calibration"] if row[0] and row[1] is not None and row[2] is not None]
    total = sum(row[0] for row in bins)
    if not total:
        return None
    return sum(row[0] * row[1] for row in bins) / total, sum(row[0] * row[2] for row in bins) / total


def _classifier_findings(evaluation: Mapping[str, Any]) -> Iterator[str]:
    names, rows = class_names(evaluation), evaluation["classes"]
    answered = [number for number, row in enumerate(rows) if row[1]]
    if len(answered) == 1 and sum(1 for row in rows if row[0]) > 1:
        yield f"Every image is taken for {quoted_class(names, answered[0])}: the network does not distinguish classes."
        return
    never = [number for number, row in enumerate(rows) if row[0] and not row[1]]
    if never:
        yield f"Never predicted, although there are examples: {class_list(names, never)}."
    lost = [number for number, row in enumerate(rows) if row[0] and row[1] and not row[2]]
    if lost:
        yield f"Predicted, but never correctly: {class_list(names, lost)}."
    absent = [
        number for number, row in enumerate(rows) if not row[0] and number < len(evaluation["class_names"] or rows)
    ]
    if absent:
        yield f"Not evaluated, for lack of examples in this split: {class_list(names, absent)}."
    yield from _pair_findings(evaluation, names, "examples")
    gap = calibration_gap(evaluation)
    if gap is not None and abs(gap[0] - gap[1]) >= _CALIBRATION_GAP:
        verdict = "overconfident" if gap[0] > gap[1] else "underconfident"
        yield f"The network is {verdict}: mean confidence {gap[0]:.2f}, accuracy {gap[1]:.2f}."


def _several_labels_findings(evaluation: Mapping[str, Any]) -> Iterator[str]:
    names, rows = class_names(evaluation), evaluation["classes"]
    never = [number for number, row in enumerate(rows) if row[0] and not row[1]]
    if never and len(never) == sum(1 for row in rows if row[0]):
        yield "No class is ever named with a probability of 0.5 or more: train longer, or look at lower probabilities."
    elif never:
        yield f"Never named, although there are images with it: {class_list(names, never)}."
    lost = [number for number, row in enumerate(rows) if row[0] and row[1] and not row[2]]
    if lost:
        yield f"Named, but never correctly: {class_list(names, lost)}."
    absent = [n for n, row in enumerate(rows) if not row[0] and n < len(evaluation["class_names"] or rows)]
    if absent:
        yield f"Not evaluated, for lack of images in this split: {class_list(names, absent)}."


def _detector_findings(evaluation: Mapping[str, Any]) -> Iterator[str]:
    yield from evaluation["findings"]
    names, rows = class_names(evaluation), evaluation["classes"]
    absent = [row["id"] for row in rows if row["average_precision"] < 0]
    if absent and len(absent) < len(rows):
        yield f"Average precision -1, for lack of objects in this split: {class_list(names, absent)}."
    silent = [row["id"] for row in rows if row["objects"] and not row["detections"]]
    if silent:
        yield f"Never detected, although there are objects: {class_list(names, silent)}."
    zero = [row["id"] for row in rows if row["average_precision"] == 0 and row["detections"]]
    if zero:
        yield f"Detected, but never on an object of that category (average precision 0): {class_list(names, zero)}."
    yield from _pair_findings(evaluation, names, "objects")


_OF_TASK = {
    "classification": _classifier_findings,
    SEVERAL_LABELS: _several_labels_findings,
    "detection": _detector_findings,
}


def _pair_findings(evaluation: Mapping[str, Any], names: Mapping[int, str], what: str) -> Iterator[str]:
    for of, answer, count, share in _worst(confused_pairs(evaluation)):
        right, taken = quoted_class(names, of), quoted_class(names, answer)
        yield f"{count} {what} of {right}, {percent(share)} of them, are taken for {taken}."


def _worst(pairs: Sequence[tuple[int, int, int, float]]) -> list[tuple[int, int, int, float]]:
    return [pair for pair in pairs if pair[2] >= _CONFUSED_COUNT and pair[3] >= _CONFUSED_SHARE][:_MOST_PAIRS]


def summary_line(evaluation: Mapping[str, Any]) -> str:
    """The result in one sentence."""
    metrics = evaluation["metrics"]
    images = plural(int(metrics.get("images", 0)), "image")
    if evaluation["task"] == "classification":
        top1, loss = metrics.get("top1_accuracy"), metrics.get("loss")
        short = float(f"{loss:.4g}") if isinstance(loss, float) else loss  # the console shows four digits
        return f"{images}: top-1 accuracy {format_value(top1)}, loss {format_value(short)}."
    if evaluation["task"] == SEVERAL_LABELS:
        mean, macro, micro = (metrics.get(key) for key in ("macro_average_precision", "macro_f1", "micro_f1"))
        f1 = f"F1 macro {format_value(macro)}, micro {format_value(micro)}"
        return f"{images}: mean average precision {format_value(mean)}, {f1}."
    whole, half = metrics.get("Precision/mAP"), metrics.get("Precision/mAP@.50IOU")
    best = f"best used from score {evaluation['operating_score']:.2f}"
    return f"{images}: average precision {format_value(whole)}, at IoU 0.5 {format_value(half)}; {best}."
