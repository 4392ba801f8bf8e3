"""The report of one run: its flags, course and results (no TF)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from utils.files.atomic_file import write_atomically
from utils.metric_names import (
    BINARY_CROSS_ENTROPY,
    CROSS_ENTROPY,
    DISTILLATION,
    FOCAL_LOSS,
    LOSS,
    WAITING,
    WEIGHTED,
    heading,
    interval_of,
)
from utils.reporting import charts
from utils.reporting.class_sections import class_sections
from utils.reporting.detection_sections import detection_sections
from utils.reporting.evaluation_file import SEVERAL_LABELS
from utils.reporting.findings import findings, speed_findings, summary_line
from utils.reporting.names import format_flag
from utils.reporting.page import folded, grid, notes, page, section, table, tiles
from utils.reporting.run_log import Launch, Run, number, read_run, target_of
from utils.reporting.several_labels_sections import several_labels_sections
from utils.text import one_line, percent

REPORT_NAME = "report.html"
_SIZES = ("image_size", "train_image_size", "progressive_sizes", "eval_crop")
_BATCH = ("batch_size", "batch_size_auto")
_WHAT = ("arch", "mode", "data_dir", *_BATCH, "num_iter", "iter_unit", *_SIZES, "num_classes", "seed")
_WHERE = ("precision", "processes", "gpus", "cpu", "cpu_count", "cpu_features", "onednn", "memory_gb")
_WITH = ("python_version", "tensorflow_version", "numpy_version", "git_commit")
_LABEL_LOSSES = (CROSS_ENTROPY, BINARY_CROSS_ENTROPY, FOCAL_LOSS)
_OF_LABELS = (*_LABEL_LOSSES, *(f"{WEIGHTED}{key}" for key in _LABEL_LOSSES), DISTILLATION)
_OF_BOXES = ("localization_loss", "distribution_loss", "centerness_loss")
_LOSSES = (LOSS, *_OF_LABELS, "classification_loss", *_OF_BOXES, "l2_loss")
_TILES = {
    "top1_accuracy": "top-1 accuracy",
    "top5_accuracy": "top-5 accuracy",
    **{key: heading(key) for key in ("macro_average_precision", "micro_f1")},
    "Precision/mAP": "average precision",
    "Precision/mAP@.50IOU": "average precision at IoU 0.5",
    "Recall/AR@100": "average recall",
    "loss": "validation loss",
    "images": "images evaluated",
    **{key: heading(key) for key in ("train_throughput", "eval_throughput")},
    WAITING: "of the time waiting for input",
}


def write_run_report(log: Path, results: Path) -> None:
    """Writes the report of a run to its results folder, given its log; without a launch in the log, writes nothing.

    Raises:
        RunError: The log cannot be read.
        OSError: The report cannot be written.
    """
    run = read_run(log, name=results.resolve().name, results=results)
    if run.launches:
        write_atomically(results / REPORT_NAME, run_page(run))


def run_page(run: Run) -> bytes:
    """The content of the report file."""
    parameters = run.parameters
    what = " · ".join(str(parameters[key]) for key in ("arch", "mode", "data_dir") if parameters.get(key))
    began = run.launches[0].began.partition(".")[0] if run.launches else ""
    lead = escape(one_line(" · ".join(filter(None, (what, f"started {began}" if began else "", str(run.path))))))
    return page(f"Run {run.name}", lead, run_sections(run))


def run_sections(run: Run) -> list[str]:
    """The sections of one run."""
    return [
        section("What is missing", notes(run.missing(), "note")),
        section("Result", tiles(_figures(run)), _result_line(run)),
        section("Metrics and their 95 % intervals", _intervals(run)),
        section("What stands out", notes(stands_out(run))),
        section("Training", _training(run)),
        section("Evaluations during training", _evaluations(run)),
        *_of_evaluation(run),
        section("Speed", _speed(run)),
        section("What was run", _what_was_run(run)),
    ]


def stands_out(run: Run) -> list[str]:
    """The findings about a run's last evaluation and its training speed."""
    training = speed_findings(run.summary, "train")
    if run.evaluation is None:
        return training or speed_findings(run.summary)
    return [*findings(run.evaluation, {} if training else run.summary), *(f"Training: {one}" for one in training)]


def _figures(run: Run) -> dict[str, Any]:
    known = {**run.metrics(), **{key: number(run.summary, key) for key in run.summary}}
    return {name: _figure(key, known[key]) for key, name in _TILES.items() if known.get(key) is not None}


def _figure(key: str, value: Any) -> Any:
    return percent(value) if key == WAITING else value


def _intervals(run: Run) -> str:
    """All metrics of the last evaluation that have intervals."""
    record = run.last_evaluation()
    rows = [
        [heading(key), value, *interval]
        for key in record
        if (interval := interval_of(record, key)) is not None and (value := number(record, key)) is not None
    ]
    return table(["metric", "value", "from", "to"], rows) + (notes([_MEANING]) if rows else "")


_MEANING = (
    "Wilson's intervals for accuracies, for all others the bootstrap over images (1,000 resamples). They say how far a "
    "metric would move with other images of the same kind, not with another seed."
)


def _result_line(run: Run) -> str:
    if run.evaluation is None:
        return ""
    weights = run.evaluation.get("weights")
    of = [f"Last evaluation, of {weights}: {summary_line(run.evaluation)}" if weights else summary_line(run.evaluation)]
    steps, values = run.evaluation_curve(target_of(run.evaluation["metrics"]) or "")
    if len(steps) > 1:
        best = max(range(len(values)), key=values.__getitem__)
        of.append(f"Best of {len(values)} evaluations during training: {values[best]:.4f} at step {steps[best]}.")
    return notes(of)


def _training(run: Run) -> str:
    losses = {key: run.curve(key) for key in _LOSSES if run.curve(key)[0]}
    if not losses:
        return ""
    total = {"training": losses[LOSS]}
    validation = run.evaluation_curve("loss")
    drawn = [charts.lines("Loss, weight decay included", total, x="step", y="loss")]
    rest = {heading(key): curve for key, curve in losses.items() if key != LOSS}
    if validation[0]:
        rest["validation"] = validation
    if rest:
        drawn.append(charts.lines("Parts of the loss, and validation", rest, x="step", y="loss", log_scale=True))
    for key, title, unit in (
        ("learning_rate", "Learning rate", "rate"),
        ("loss_scale", "Loss scale", "factor"),
    ):
        if run.curve(key)[0]:
            drawn.append(charts.lines(title, {title: run.curve(key)}, x="step", y=unit))
    steps, values = losses[LOSS]
    last = f"Last logged step: {steps[-1]}, total loss {values[-1]:.6g}."
    return notes([last]) + grid(*drawn)


def _evaluations(run: Run) -> str:
    records = run.evaluations()
    if not records:
        return ""
    target = next(filter(None, map(target_of, records.values())), "")
    drawn = ""
    if len(records) > 1:
        drawn = grid(
            *(
                charts.lines(heading(key), {key: run.evaluation_curve(key)}, x="step", y=heading(key), marked=True)
                for key in (target, "loss", "Precision/mAP@.50IOU")
                if run.evaluation_curve(key)[0]
            )
        )
    keys = [key for key in _TILES if any(key in record for record in records.values())]
    rows = [[step, *(number(record, key) for key in keys)] for step, record in records.items()]
    return drawn + table(["step", *map(heading, keys)], rows)


def _of_evaluation(run: Run) -> list[str]:
    if run.evaluation is None:
        return []
    return _SECTIONS[run.evaluation["task"]](run.evaluation)


_SECTIONS = {
    "classification": class_sections,
    SEVERAL_LABELS: several_labels_sections,
    "detection": detection_sections,
}


def _speed(run: Run) -> str:
    drawn = []
    for key, title, unit in (
        ("imgs_per_sec", "Training throughput", "images/s"),
        (WAITING, "Share of time waiting for input", "share"),
    ):
        if run.curve(key)[0]:
            drawn.append(charts.lines(title, {title: run.curve(key)}, x="step", y=unit))
    speeds = _curve_of_batches(run.launches)
    if speeds[0]:
        drawn.append(charts.lines("Evaluation throughput", {"evaluation": speeds}, x="batch", y="images/s"))
    latency = run.evaluation["latency_ms"] if run.evaluation else {"counts": []}
    if latency["counts"]:
        title = "Batch latency in evaluation"
        drawn.append(charts.histogram(title, latency["edges"], latency["counts"], x="ms", y="batches"))
    known = {key: number(run.summary, key) for key in run.summary if _is_speed(key)}
    figures = [[heading(key), _figure(key, value)] for key, value in known.items() if value is not None]
    return grid(*drawn) + folded("All speed figures", table(["figure", "value"], figures))


def _is_speed(key: str) -> bool:
    return "_latency_" in key or key.endswith("_throughput") or key == WAITING


def _curve_of_batches(launches: Sequence[Launch]) -> charts.Line:
    last: Mapping[int, Mapping[str, Any]] = launches[-1].speeds if launches else {}
    points = [(batch, value) for batch, record in last.items() if (value := number(record, "total_ips")) is not None]
    return [batch for batch, _ in points], [value for _, value in points]


def _what_was_run(run: Run) -> str:
    parameters = run.parameters
    first = [[key, format_flag(parameters[key])] for key in (*_WHAT, *_WHERE, *_WITH) if key in parameters]
    rest = [[key, format_flag(value)] for key, value in parameters.items() if key not in {*_WHAT, *_WHERE, *_WITH}]
    launches = [
        [launch.began.partition(".")[0], launch.parameters.get("mode"), _stretch(launch), _ended(launch)]
        for launch in run.launches
    ]
    parts = [table(["", "value"], first), folded("All other flags and versions", table(["flag", "value"], rest))]
    if launches:
        parts.append("<h3>Launches</h3>" + table(["began", "mode", "steps logged", "ended"], launches))
    return "\n".join(filter(None, parts))


def _stretch(launch: Launch) -> str:
    return f"{min(launch.steps)} to {max(launch.steps)}" if launch.steps else ""


def _ended(launch: Launch) -> str:
    return "with a summary" if launch.summary is not None else "without a summary"
