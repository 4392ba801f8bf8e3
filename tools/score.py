"""Scores detections against annotations, both in COCO's format: python -m tools.score GROUNDTRUTH.json RESULTS.json.

Prints the twelve lines of pycocotools, the average precision of each class, what each kind of error costs, and the
likely cause of metrics near 0 or of -1. Imports no TensorFlow.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from object_detection.coco.details import operating_score
from object_detection.coco.error_details import error_details
from object_detection.coco.errors import find_errors
from object_detection.coco.intervals import intervals
from object_detection.coco.metrics import METRICS, Summary, score_arrays
from object_detection.coco.report import findings, lines
from object_detection.coco.tables import Comparison, from_json
from tools.command import CommandParser, require_no_input, run_command
from utils.errors import EXIT_DONE, RunError
from utils.files.atomic_file import write_atomically
from utils.files.file_kind import why_no_json
from utils.files.regular_file import open_regular
from utils.metric_names import INTERVALS, heading
from utils.reporting.evaluation_file import ERRORS
from utils.statistics.intervals import Interval
from utils.suggestions import path_hint
from utils.text import one_line, printable


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m tools.score",
        description="Scores detections against annotations, both in COCO's format.",
        epilog="Exit status: 0 done, whatever the score; 1 failed; 2 wrong usage.",
    )
    parser.add_argument(
        "groundtruth", metavar="GROUNDTRUTH", type=Path, help="JSON file with images, annotations and categories"
    )
    parser.add_argument(
        "results",
        metavar="RESULTS",
        type=Path,
        help="JSON file with a list of detections, such as the detections.json of an evaluation",
    )
    parser.add_argument("--json", metavar="OUT", type=Path, help="write the scores to this file too")
    return parser


def run(options: argparse.Namespace) -> int:
    """Prints the scores, writes them if asked to, and returns the exit status.

    Raises:
        UsageError: The scores would take the place of a file that is read.
        RunError: A file cannot be read or written, is invalid, or does not belong to the other.
    """
    require_no_input("--json", options.json, [options.groundtruth, options.results])
    names = (printable(str(options.groundtruth)), printable(str(options.results)))
    comparison = from_json(_read(options.groundtruth), _read(options.results), names)
    summary = score_arrays(comparison.groundtruth, comparison.results, list(comparison.categories))
    ends, by_category = intervals(comparison, summary) if len(comparison.image_ids) else ({}, {})
    found, classes = findings(comparison, summary), _classes(comparison, summary, by_category)
    threshold = operating_score(summary.matches)
    errors = {"operating_score": threshold, **error_details(summary, find_errors(summary.matches), threshold)}
    parts = (lines(summary), _ranges(ends), _table(classes), _errors(errors), found)
    print("\n\n".join("\n".join(part) for part in parts if part))
    if options.json is not None:
        content = {
            "images": len(comparison.image_ids),
            "annotations": len(comparison.groundtruth.crowds),
            "detections": len(comparison.results.scores),
            "metrics": summary.metrics,
            INTERVALS: ends,
            "classes": classes,
            ERRORS: errors,
            "findings": found,
        }
        try:
            write_atomically(options.json, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
        except OSError as error:
            raise RunError(f"--json {options.json}: cannot be written: {error.strerror}") from error
    return EXIT_DONE


def _read(path: Path) -> Any:
    try:
        with open_regular(path) as file:
            data = file.read()
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}{path_hint(path)}") from error
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: {why_no_json(data, error)}") from error


def _ranges(ends: Mapping[str, Interval]) -> list[str]:
    """The intervals of the main metrics."""
    told = [f"{heading(key)} {ends[key][0]:.3f} to {ends[key][1]:.3f}" for key in METRICS[:3] if key in ends]
    return [f"95 % intervals, bootstrap over images: {', '.join(told)}"] if told else []


def _classes(
    comparison: Comparison, summary: Summary, intervals_by_category: Mapping[int, Interval]
) -> list[dict[str, Any]]:
    """The figures of each category, by ascending id; crowds do not count as objects."""
    objects = comparison.groundtruth.category_ids[~comparison.groundtruth.crowds]
    return [
        {
            "id": category,
            "name": comparison.categories[category],
            "average_precision": precision,
            "interval": intervals_by_category.get(category),
            "objects": int((objects == category).sum()),
            "detections": int((comparison.results.category_ids == category).sum()),
        }
        for category, precision in summary.by_category.items()
    ]


def _table(classes: Sequence[dict[str, Any]]) -> list[str]:
    if not classes:
        return ["the groundtruth lists no category"]
    width = max(len("id"), *(len(str(row["id"])) for row in classes))
    header = f"{'id':>{width}}  {'AP':>6}  {'95 % interval':>14}  {'objects':>9}  {'detections':>10}  class"
    return [header] + [
        f"{row['id']:{width}}  {row['average_precision']:6.3f}  {_range(row['interval']):>14}  {row['objects']:9}  "
        f"{row['detections']:10}  {one_line(row['name'])}"
        for row in classes
    ]


def _errors(errors: Mapping[str, Any]) -> list[str]:
    """The number and the cost of each kind of error."""
    sure = f"score >= {errors['operating_score']:.3f}"
    header = f"{'errors':15}  {'cost in AP at IoU 0.5':>21}  {sure:>14}  {'any score':>9}"
    return [header] + [
        f"{row['kind']:15}  {'' if row['cost'] is None else format(row['cost'], '.3f'):>21}  {row['sure']:14}  "
        f"{row['count']:9}"
        for row in errors["kinds"]
    ]


def _range(ends: Interval | None) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
