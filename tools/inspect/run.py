"""Inspects a data set, from its configuration to the folder of pictures and numbers."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from runtime.planning.plan import TrainingPlan, plan_training
from runtime.setup.set_up import set_up_alone
from runtime.task import Setup
from tools.inspect.charts import rate_chart
from tools.inspect.contact_sheet import Cell, contact_sheet, fitted
from tools.inspect.label_view import LabelView
from tools.inspect.network_inputs import NetworkInput, read_network_inputs
from tools.inspect.object_view import ObjectView
from tools.inspect.stored_records import stored_record
from tools.inspect.view import CaptionedPicture, View, interruptible_by
from utils.config import ExperimentConfig
from utils.errors import EXIT_DONE, EXIT_SOME_SKIPPED, RunError, UsageError
from utils.files.atomic_file import write_atomically
from utils.hooks.preemption import PreemptionHook
from utils.image_sizes import size_of_sides
from utils.text import plural

NUMBERS = "inspect.json"
PICTURES = (
    "raw.png",
    "augmented.png",
    "evaluated.png",
    "matched_anchors.png",
    "classes.png",
    "boxes.png",
    "learning_rate.png",
)
_CURVE_POINTS = 2000
_LISTED_STEPS = 24
_NAMED_FAULTS = 5
_SheetPlan = tuple[str, str, list[Cell], list[dict[str, Any]]]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionOptions:
    """Options of an inspection in addition to the run's configuration.

    Attributes:
        output: Folder for pictures and numbers.
        images: Pictures on a sheet; None for the task's default.
        processes: Number of processes to show the learning rate for.
    """

    output: Path
    images: int | None
    processes: int


def inspect(config: ExperimentConfig, options: InspectionOptions, stop: PreemptionHook) -> int:
    """Writes the folder, prints the findings, and returns the exit status: 3 with faulty records.

    Raises:
        UsageError: Flags and data contradict each other.
        RunError: The data cannot be read, or the folder cannot be written.
    """
    folder = _OutputFolder(options.output, Path(str(config.data.data_dir)))
    setup = set_up_alone(config)
    view: View = ObjectView(setup) if setup.config.detection else LabelView(setup)
    plan = plan_training(setup.config, setup.task.data.num_examples("train"), options.processes)
    interruptible = interruptible_by(stop)
    faults: dict[str, None] = {}
    facts: dict[str, Any] = _run_facts(setup)
    sheets = facts["sheets"] = {}
    for name, title, cells, listed in _sheets(setup, view, options.images, faults):
        next(interruptible([None]))
        sheets[name] = {"examples": listed, "cells": folder.write_sheet(name, title, cells, view.side)}
    statistics = view.statistics(interruptible)
    for name, chart in statistics.charts.items():
        folder.write(name, chart)
    faults.update(dict.fromkeys(statistics.faults))
    facts |= {**statistics.facts, "learning_rate": _draw_learning_rate(plan, folder), "faults": list(faults)}
    folder.write(NUMBERS, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
    folder.finish()
    for line in (*statistics.lines, _rate_line(plan), _input_line(setup)):
        print(line)
    print(f"{options.output}: {', '.join(folder.written)}")
    return _log_faults(list(faults))


def _log_faults(faults: Sequence[str]) -> int:
    for fault in faults[:_NAMED_FAULTS]:
        _log.warning("%s", fault)
    if len(faults) > _NAMED_FAULTS:
        _log.warning("%d more records with faults; %s lists them all", len(faults) - _NAMED_FAULTS, NUMBERS)
    return EXIT_SOME_SKIPPED if faults else EXIT_DONE


def _sheets(setup: Setup, view: View, images: int | None, faults: dict[str, None]) -> Iterator[_SheetPlan]:
    """Yields name, title, cells and JSON entries of each sheet; adds the faults of examples to ``faults``."""
    count = images or (12 if setup.config.detection else 32)
    trained = read_network_inputs(setup, "train", count, view.extra_tensors)
    faults.update({example.fault: None for example in trained if example.fault})
    size = setup.config.model.image_size
    title = "As stored: the training examples of augmented.png, before any processing"
    yield "raw.png", title, *_cells(trained, partial(_show_stored, setup, view), view)
    width, height = trained[0].image.size
    seen = size_of_sides(height, width)
    title = f"As the network sees them: the first training examples with seed {setup.seed}, at {seen} px"
    yield "augmented.png", title, *_cells(trained, view.show_input, view)
    for name, (title, show) in view.extra_sheets().items():
        yield name, title, *_cells([example for example in trained if not example.fault], show, view)
    if "validation" in setup.splits:
        tested = read_network_inputs(setup, "validation", count, view.extra_tensors)
        faults.update({example.fault: None for example in tested if example.fault})
        title = f"As evaluation sees them: the first validation examples, at {size} px"
        yield "evaluated.png", title, *_cells(tested, view.show_input, view)


def _show_stored(setup: Setup, view: View, example: NetworkInput) -> CaptionedPicture:
    return view.show_stored(stored_record(setup.splits[example.split], example.index))


def _cells(
    examples: Sequence[NetworkInput], show: Callable[[NetworkInput], CaptionedPicture], view: View
) -> tuple[list[Cell], list[dict[str, Any]]]:
    """The cells of a sheet, and their JSON entries."""
    cells, listed = [], []
    for example in examples:
        facts: dict[str, Any] = {"split": example.split, "index": example.index}
        try:
            if example.fault:
                raise RunError(example.fault)
            shown = show(example)
            cells.append(Cell(shown.picture, (shown.caption, f"{example.split} {example.index}")))
            facts |= shown.facts
        except RunError as error:
            blank = fitted(example.image, view.side).point(lambda value: value // 4 + 160)
            cells.append(Cell(blank, (f"{example.split} {example.index}: not used", str(error)), fault=True))
            facts["fault"] = str(error)
        listed.append(facts)
    return cells, listed


def _run_facts(setup: Setup) -> dict[str, Any]:
    config = setup.config
    return {
        "task": setup.task.metadata["task"],
        "architecture": config.model.architecture,
        "data_dir": config.data.data_dir,
        "input": "DALI" if config.data.source == "dali" else "tf.data",
        "image_size": config.model.image_size,
        "batch_size": config.data.batch_size_per_replica,
        "seed": setup.seed,
    }


def _draw_learning_rate(plan: TrainingPlan, folder: _OutputFolder) -> dict[str, Any]:
    """Draws the learning rate and returns its numbers."""
    last = plan.total_steps - 1
    steps = np.unique(np.linspace(0, last, min(last + 1, _CURVE_POINTS)).astype(int))
    rates = np.asarray(plan.schedule.rate(steps.astype(np.float64)))
    folder.write("learning_rate.png", rate_chart(steps, rates, plan.steps_per_epoch))
    turns = {0, plan.schedule.warmup_steps, plan.schedule.decay_from, *(b + 1 for b in plan.schedule.boundaries), last}
    listed = sorted({*np.linspace(0, last, _LISTED_STEPS).astype(int).tolist(), *(t for t in turns if t <= last)})
    return {
        "schedule": plan.schedule.kind,
        "global_batch": plan.global_batch,
        "steps_per_epoch": plan.steps_per_epoch,
        "total_steps": plan.total_steps,
        "warmup_steps": plan.schedule.warmup_steps,
        "peak": plan.schedule.peak,
        "steps": [
            {
                "step": step,
                "epoch": round(step / plan.steps_per_epoch, 4),
                "learning_rate": float(plan.schedule.rate(np.float64(step))),
            }
            for step in listed
        ],
    }


def _rate_line(plan: TrainingPlan) -> str:
    schedule = plan.schedule
    first, last = (float(schedule.rate(np.float64(step))) for step in (0, plan.total_steps - 1))
    warmup = plural(schedule.warmup_steps, "step")
    if schedule.warmup_steps >= plan.total_steps:
        course = f"from {first:.4g} up to {last:.4g}, as the run ends before its warm-up of {warmup}"
    elif schedule.warmup_steps:
        course = f"from {first:.4g} up to {schedule.peak:.4g} in {warmup}, {last:.4g} at the end"
    else:
        course = f"{first:.4g} at first, {last:.4g} at the end"
    length = f"{plural(plan.total_steps, 'step')} of {plan.global_batch:,} images, {plan.steps_per_epoch:,} an epoch"
    return f"learning rate ({schedule.kind}): {course}; {length}"


def _input_line(setup: Setup) -> str:
    facts = _run_facts(setup)
    return (
        f"input: {facts['input']}, {facts['image_size']} px, batches of {facts['batch_size']}; "
        f"--seed={setup.seed} shows the same examples again"
    )


class _OutputFolder:
    """The folder of an inspection's results.

    Args:
        path: The folder; created if missing.
        data: The folder of the records, which must be another one.

    Raises:
        UsageError: The two are the same.
        RunError: The folder cannot be created.
    """

    def __init__(self, path: Path, data: Path) -> None:
        if path.resolve() == data.resolve():
            raise UsageError(f"--output {path}: holds the records; name another folder for the pictures")
        self._path = path
        self._is_ours = (path / NUMBERS).is_file()
        self.written: list[str] = []
        self._try(lambda: path.mkdir(parents=True, exist_ok=True))
        self._try(lambda: write_atomically(path / f".{NUMBERS}.trial", b""))
        self._try((path / f".{NUMBERS}.trial").unlink)

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, complete or not at all."""
        self._try(lambda: write_atomically(self._path / name, data))
        self.written.append(name)

    def write_sheet(self, name: str, title: str, cells: Sequence[Cell], side: int) -> list[list[int]]:
        """Writes a sheet and returns left, top, width and height of each of its pictures, in pixels."""
        sheet = contact_sheet(title, cells, side)
        buffer = io.BytesIO()
        sheet.image.save(buffer, "PNG", compress_level=3)  # a tenth larger than level 6, in a third of the time
        self.write(name, buffer.getvalue())
        return [list(place) for place in sheet.places]

    def finish(self) -> None:
        """Removes files of an earlier inspection that this one has not written."""
        for name in PICTURES if self._is_ours else ():
            if name not in self.written:
                self._try((self._path / name).unlink, missing_ok=True)

    def _try(self, act: Callable[..., Any], **how: Any) -> None:
        try:
            act(**how)
        except OSError as error:
            raise RunError(f"--output {self._path}: cannot be written ({error.strerror})") from error
