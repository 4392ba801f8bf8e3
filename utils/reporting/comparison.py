"""The report on several runs: their ranking, their differences, and the report of each run (no TF)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from utils.metric_names import heading, interval_of
from utils.reporting import charts
from utils.reporting.error_sections import error_comparison
from utils.reporting.names import format_flag
from utils.reporting.page import Markup, folded, grid, notes, page, section, table
from utils.reporting.paired_tests import Outcome, sentence
from utils.reporting.run_log import Run, number, target_of
from utils.reporting.run_page import run_sections

_MOST_FULL_REPORTS = 4
"""Up to this many runs, each has its own report below the comparison; more would overload a browser."""
_FIGURES = (
    *("top1_accuracy", "Precision/mAP", "Precision/mAP@.50IOU", "macro_average_precision", "macro_f1", "loss"),
    *("train_throughput", "eval_throughput"),
)
_CURVES = (
    ("total_loss", "Loss of training, weight decay included", "loss"),
    ("learning_rate", "Learning rate", "rate"),
    ("imgs_per_sec", "Throughput of training", "images/s"),
)
_NOT_COMPARED = ("results_dir", "log_filename", "model_dir", "memory_free_gb", "disk_free_gb")
_MOST_COLUMNS = 12
"""With more runs, the table of differing flags has one row per run."""


def ranked_runs(runs: Sequence[Run]) -> list[Run]:
    """The runs, the best one first."""
    return sorted(runs, key=_rank)


def comparison_page(ranked: Sequence[Run], tests: Outcome) -> bytes:
    """The content of the report file.

    Args:
        ranked: The runs, the best one first.
        tests: The tests between them.
    """
    runs = ranked
    lead = f"{len(runs)} runs, the best first. Grey curves belong to runs beyond the first {len(charts.COLORS)}."
    parts = [
        section("What is missing", _missing(ranked)),
        section("Results", _results(ranked)),
        section("Larger than chance?", _tests(tests)),
        section("What the errors cost", error_comparison([(run.name, run.evaluation) for run in ranked])),
        section("What differs", _differences(ranked)),
        section("Curves", _curves(ranked)),
    ]
    if len(ranked) <= _MOST_FULL_REPORTS:
        for run in ranked:
            parts.append(
                section(run.name, folded("The report of this run", "\n".join(filter(None, run_sections(run)))))
            )
    return page(f"{len(runs)} runs compared", lead, parts)


def _rank(run: Run) -> tuple[bool, float, str]:
    metrics = run.metrics()
    target = target_of(metrics)
    return target is None, -metrics[target] if target else 0.0, run.name


def _missing(runs: Sequence[Run]) -> str:
    lines = [f"{run.name}: {' '.join(run.missing())}" for run in runs if run.missing()]
    content = notes(lines, "note")
    return content if len(lines) <= _MOST_COLUMNS else folded(f"Something is missing in {len(lines)} runs", content)


def _results(runs: Sequence[Run]) -> str:
    found = [{**run.summary, **run.metrics()} for run in runs]
    keys = [key for key in _FIGURES if any(number(record, key) is not None for record in found)]
    rows = []
    for run, record in zip(runs, found, strict=True):
        steps = [*run.training()]
        facts = [run.name, run.parameters.get("arch"), run.parameters.get("mode"), steps[-1] if steps else None]
        target = target_of(record)
        ends = interval_of(run.last_evaluation(), target) if target else None
        rows.append([*facts, *(number(record, key) for key in keys), f"{ends[0]:.4f} to {ends[1]:.4f}" if ends else ""])
    headers = ["run", "arch", "mode", "steps", *map(heading, keys), "95 % interval"]
    if not any(row[-1] for row in rows):
        headers, rows = headers[:-1], [row[:-1] for row in rows]
    return table(headers, rows)


def _tests(tests: Outcome) -> str:
    """The tests between runs in words, those that were refused, and the runs without results by image."""
    told = notes(sentence(test, len(tests.pairs)) for test in tests.pairs)
    missing = notes([*tests.refused[:_MOST_COLUMNS], *tests.without_results()], "note")
    more = len(tests.refused) - _MOST_COLUMNS
    return told + missing + (notes([f"{more} more pairs were not compared."], "note") if more > 0 else "")


def _differences(runs: Sequence[Run]) -> str:
    """The flags and versions that differ between runs."""
    keys = dict.fromkeys(key for run in runs for key in run.parameters if key not in _NOT_COMPARED)
    different = [key for key in keys if len({_plain(run.parameters.get(key)) for run in runs}) > 1]
    if not different:
        return notes(["All flags and versions are the same."])
    if len(runs) <= _MOST_COLUMNS:
        rows = [[key, *(_shown(run, key) for run in runs)] for key in different]
        return table(["flag", *(run.name for run in runs)], rows)
    usual = {key: Counter(_plain(run.parameters.get(key)) for run in runs).most_common(1)[0][0] for key in different}
    common = ", ".join(f"{key} {format_flag(json.loads(value))}" for key, value in usual.items())
    changed = [[run.name, ", ".join(_changes(run, usual)) or "nothing"] for run in runs]
    return notes([f"Most frequent: {common}."]) + table(["run", "differs in"], changed)


def _changes(run: Run, usual: dict[str, str]) -> list[str]:
    return [
        f"{key} {format_flag(run.parameters.get(key))}"
        for key, value in usual.items()
        if _plain(run.parameters.get(key)) != value
    ]


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _shown(run: Run, key: str) -> str | Markup:
    return format_flag(run.parameters[key]) if key in run.parameters else Markup("<i>unknown</i>")


def _curves(runs: Sequence[Run]) -> str:
    drawn = []
    for key, title, unit in _CURVES:
        series = {f"{rank}. {run.name}": curve for rank, run in enumerate(runs, 1) if (curve := run.curve(key))[0]}
        if series:
            drawn.append(charts.lines(title, series, x="step", y=unit))
    targets = dict.fromkeys(target for run in runs if (target := target_of(run.metrics())))
    for key in (*targets, "loss"):
        series = {
            f"{rank}. {run.name}": curve for rank, run in enumerate(runs, 1) if (curve := run.evaluation_curve(key))[0]
        }
        if series:
            drawn.append(charts.lines(f"Validation: {heading(key)}", series, x="step", y=heading(key), marked=True))
    return grid(*drawn)
