"""A run as read from its log: flags, curves, evaluations, and a list of what is missing (no TF)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.dllogger_utils import JSON_PREFIX, PARAMETER, SUMMARY, read_records
from utils.errors import RunError
from utils.metric_names import INTERVALS
from utils.reporting.evaluation_file import EVALUATION_NAME, read_evaluation
from utils.suggestions import path_hint

LOG_NAME = "log.json"
TARGETS = ("top1_accuracy", "Precision/mAP", "macro_average_precision")
"""The metrics that rank classifiers and detectors; only the records of evaluations have them."""
_TRAINING = "total_loss"
_SPEED = "total_ips"


@dataclass(slots=True, kw_only=True)
class Launch:
    """One launch of a run.

    Attributes:
        parameters: Its PARAMETER record; empty if it is missing.
        began: Time of that record.
        steps: Training records by step.
        evaluations: Records of evaluations during training, by step.
        speeds: Records of speed in an evaluation or benchmark, by batch.
        summary: Its last record; None if the launch was killed or is still running.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    began: str = ""
    steps: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    evaluations: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    speeds: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run: all launches in one log.

    Attributes:
        name: Name in the report.
        path: Path of the log.
        launches: The launches in order.
        damaged_lines: Number of lines of the log that are not records.
        evaluation: The last evaluation, see ``utils.reporting.evaluation_file``; None if there is none.
        evaluation_fault: Reason why the evaluation file cannot be used; empty if there is no such file.
    """

    name: str
    path: Path
    launches: Sequence[Launch]
    damaged_lines: int = 0
    evaluation: Mapping[str, Any] | None = None
    evaluation_fault: str = ""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of the last launch."""
        return next((launch.parameters for launch in reversed(self.launches) if launch.parameters), {})

    @property
    def summary(self) -> Mapping[str, Any]:
        """The last summary; empty if no launch reached its end."""
        return next((launch.summary for launch in reversed(self.launches) if launch.summary is not None), {})

    def training(self) -> dict[int, Mapping[str, Any]]:
        """Training records by step; for repeated steps, those of the later launch."""
        return _joined([launch.steps for launch in self.launches])

    def evaluations(self) -> dict[int, Mapping[str, Any]]:
        """Records of evaluations during training by step; for repeated steps, those of the later launch."""
        return _joined([launch.evaluations for launch in self.launches])

    def curve(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values of a training scalar."""
        return _curve(self.training(), key)

    def evaluation_curve(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values of a metric in evaluations during training."""
        return _curve(self.evaluations(), key)

    def metrics(self) -> dict[str, float]:
        """The metrics of the last evaluation: from the summary, else from the last record; empty if there are none."""
        found = self.last_evaluation()
        return {key: value for key in found if (value := number(found, key)) is not None}

    def last_evaluation(self) -> Mapping[str, Any]:
        """The record of the last evaluation: metrics and their intervals; empty if there is none."""
        last = [*self.evaluations().values()][-1:]
        for found in (self.summary, *last):
            if target_of(found):
                return found
        if self.evaluation is None:
            return {}
        return {**self.evaluation["metrics"], INTERVALS: self.evaluation.get(INTERVALS, {})}

    def missing(self) -> list[str]:
        """Sentences about what the log lacks, with the likely reasons."""
        mode = self.parameters.get("mode")
        notes = []
        if not self.launches:
            return ["The log contains no launch: nothing was run, or the run ended before its first record."]
        if not self.parameters:
            notes.append("The log has no record of flags and versions (PARAMETER): its beginning is missing.")
        if self.damaged_lines:
            notes.append(f"{self.damaged_lines} lines of the log could not be read and are left out.")
        if self.launches[-1].summary is None:
            notes.append("The last launch has no summary: it was stopped early, failed, or is still running.")
        if mode in ("train", "train_and_evaluate", None) and not self.training() and not self.metrics():
            notes.append("No training step was logged: --display_every may exceed the number of steps.")
        if not self.metrics():
            notes.append("There was no evaluation: metrics, confusions and pictures are missing.")
        elif self.evaluation is None:
            why = f"cannot be used: {self.evaluation_fault}" if self.evaluation_fault else "is missing"
            notes.append(f"{EVALUATION_NAME} {why}. The report has no details of classes and images.")
        return notes


def target_of(record: Mapping[str, Any]) -> str | None:
    """The ranking metric that a record contains, or None."""
    return next((name for name in TARGETS if number(record, name) is not None), None)


def number(record: Mapping[str, Any], key: str) -> float | None:
    """A finite number of a record, or None."""
    value = record.get(key)
    real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if real and value is not None else None


def read_run(place: Path, name: str | None = None, results: Path | None = None) -> Run:
    """Reads a run.

    Args:
        place: The folder of the run, or its log.
        name: Name of the run; by default the place.
        results: The folder of its evaluation file; by default that of the log, or the results folder named in the log.

    Raises:
        RunError: There is no log, or it cannot be read.
    """
    path = _log_in(place) if place.is_dir() else place
    try:
        records, damaged = read_records(path)
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read ({error.strerror}); a run is the folder of its log{path_hint(path)}"
        ) from error
    if not records and damaged:
        raise RunError(f"{path}: is not the log of a run: it has no record that begins with {JSON_PREFIX}")
    launches = _launches(records)
    file = _evaluation_in([results] if results else [path.parent, *_results_of(launches)])
    evaluation, fault = None, ""
    if file is not None:
        try:
            evaluation = read_evaluation(file)
        except (OSError, ValueError, RecursionError) as error:
            fault = str(error) or type(error).__name__
    return Run(
        name=name or str(place),
        path=path,
        launches=launches,
        damaged_lines=damaged,
        evaluation=evaluation,
        evaluation_fault=fault,
    )


def _log_in(folder: Path) -> Path:
    """The log in a folder: log.json, else the newest file that begins like a log."""
    usual = folder / LOG_NAME
    if usual.is_file():
        return usual
    logs = [path for path in folder.iterdir() if path.is_file() and _begins_as_log(path)]
    if not logs:
        raise RunError(f"{folder}: contains no log of a run ({LOG_NAME}, or a file that begins with {JSON_PREFIX})")
    return max(logs, key=lambda path: (path.stat().st_mtime, path.name))


def _begins_as_log(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(JSON_PREFIX)) == JSON_PREFIX.encode()
    except OSError:
        return False


def _results_of(launches: Sequence[Launch]) -> list[Path]:
    """The results folders of the launches, the last one first; a log may be elsewhere."""
    stated = [launch.parameters.get("results_dir") for launch in reversed(launches)]
    return [Path(folder) for folder in stated if isinstance(folder, str)]


def _evaluation_in(folders: Sequence[Path]) -> Path | None:
    files = (folder / EVALUATION_NAME for folder in folders)
    return next((file for file in files if file.is_file()), None)


def _launches(records: Sequence[Mapping[str, Any]]) -> list[Launch]:
    launches: list[Launch] = []
    for record in records:
        data = record.get("data")
        if record.get("type") != "LOG" or not isinstance(data, dict):
            continue
        step = record.get("step")
        if step == PARAMETER or not launches:
            launches.append(Launch(began=str(record.get("datetime", ""))))
        _add(launches[-1], step, data)
    return launches


def _add(launch: Launch, step: Any, data: Mapping[str, Any]) -> None:
    """Adds a record to a launch; ignores unknown kinds of records."""
    if step == PARAMETER:
        launch.parameters = data
    elif step == list(SUMMARY):
        launch.summary = data
    elif isinstance(step, list) and len(step) == 2 and isinstance(step[1], int):
        kinds = ((_TRAINING, launch.steps), (_SPEED, launch.speeds), *((name, launch.evaluations) for name in TARGETS))
        for key, table in kinds:
            if key in data:
                table[step[1]] = data
                return


def _joined(parts: Sequence[Mapping[int, Mapping[str, Any]]]) -> dict[int, Mapping[str, Any]]:
    """The tables of several launches as one; each launch replaces what came before from its first step on."""
    whole: dict[int, Mapping[str, Any]] = {}
    for part in parts:
        if part:
            whole = {step: record for step, record in whole.items() if step < min(part)}
            whole.update(sorted(part.items()))
    return whole


def _curve(table: Mapping[int, Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    points = [(step, value) for step, record in table.items() if (value := number(record, key)) is not None]
    return [step for step, _ in points], [value for _, value in points]
