"""Exports a checkpoint in several formats and verifies each: opens it, runs it and compares it."""

from __future__ import annotations

import dataclasses
import gc
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from runtime.artefacts.artefact import Artefact
from runtime.artefacts.calibration import calibration_split
from runtime.artefacts.export_job import ExportJob, ExportOptions
from runtime.artefacts.formats import FORMATS, Format, Limits, function
from runtime.artefacts.speed import images_per_second
from runtime.artefacts.unverified import accept, unverified
from runtime.artefacts.verification import Comparison, compare
from runtime.evaluation import chosen_weights
from runtime.task import Setup
from utils.config import ExperimentConfig
from utils.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, RunError, UsageError, reason
from utils.files.atomic_file import write_atomically
from utils.files.writable import require_writable
from utils.hooks.hook import Hook
from utils.metric_names import heading

_log = logging.getLogger(__name__)

REPORT = "export_report.json"


def export(
    config: ExperimentConfig, set_up: Callable[[ExperimentConfig], Setup], options: ExportOptions, stop: Hook
) -> int:
    """Exports the checkpoint of a configuration; returns the exit status.

    Args:
        config: An evaluation of the checkpoint, on data or on noise.
        set_up: Function that resolves a configuration.
        options: Options of the export.
        stop: Requests a stop after a signal; the current format is finished first.

    Raises:
        UsageError: An option is invalid for this checkpoint or machine.
        RunError: The checkpoint or the data are damaged, or the folder is not writable.
    """
    rows = [FORMATS[name] for name in options.formats]
    for row in rows:
        if row.check:
            function(row.check)(options)
    for row in rows:
        row.require_packages()
    check_folder(options.folder)
    setup = set_up(config)
    calibration = None
    if any(row.calibrated for row in rows) and config.data.data_dir:
        data = dataclasses.replace(config.data, eval_split=calibration_split(Path(config.data.data_dir)))
        calibration = set_up(dataclasses.replace(config, data=data))
    exporter = Exporter(setup, calibration, options)
    options.folder.mkdir(parents=True, exist_ok=True)  # only now, so that a refusal leaves nothing
    return exporter.run(stop)


def check_folder(export_dir: Path) -> None:
    """Fails early if the export folder cannot be made or written to.

    Raises:
        UsageError: It cannot.
    """
    try:
        require_writable(export_dir)
    except OSError as error:
        raise UsageError(f"--export_dir {export_dir}: cannot be written to: {error.strerror}") from error


class Exporter:
    """Writes the formats of one checkpoint.

    Args:
        setup: The network and the validation images for the comparison.
        calibration: The same, with the calibration set for int8 as its validation images; None without data.
        options: Options of the export.

    Raises:
        UsageError: A format does not suit this checkpoint.
        RunError: The checkpoint is damaged.
    """

    def __init__(self, setup: Setup, calibration: Setup | None, options: ExportOptions) -> None:
        self._setup = setup
        self._options = options
        self._rows = [FORMATS[name] for name in options.formats]
        self._prefix = setup.required_checkpoint
        which = chosen_weights(self._prefix, setup.config.moving_average.eval_weights)
        self._metadata = {**setup.metadata, **setup.task.metadata, "eval_weights": which}
        quantized = setup.config.model.quantization is not None
        for row in self._rows:
            _check_quantization(row, quantized=quantized, has_images=calibration is not None)
        graphs = {row.graph for row in self._rows if row.graph is not None}
        self._job = ExportJob(setup, calibration, options, graphs)

    def run(self, stop: Hook) -> int:
        """Exports all formats, writes the report, and returns the exit status: 1 if an artefact failed."""
        entries: list[dict[str, Any]] = []
        for row in self._rows:
            if stop.wants_stop:
                _log.warning("stopped by a signal before --format %s: rerun the same command", row.name)
                return EXIT_PREEMPTED
            entry = self._export(row)
            entries.append(entry)
            print(line(entry), flush=True)
            gc.collect()  # graphs and sessions refer to each other and keep the weights
            self._report(entries)
        failed = [entry for entry in entries if entry["status"] == "failed"]
        for entry in failed:
            _log.critical("--format %s: failed: %s", entry["format"], entry["reason"])
        return EXIT_FAILED if failed else EXIT_DONE

    def _export(self, row: Format) -> dict[str, Any]:
        """Writes, opens and compares one format, and puts it into place; returns its entry in the report."""
        target = self._path(row)
        entry: dict[str, Any] = {"format": row.name, "path": str(target), "status": "failed", "reason": None}
        metadata = {**self._metadata, "artefact": {"format": row.name, "precision": row.precision}}
        began = time.perf_counter()
        try:
            with unverified(target, row.name) as path:
                written = function(row.write)(self._job, row, path, metadata)
                seconds = round(time.perf_counter() - began, 2)
                entry |= {"path": str(path), "seconds": seconds, "bytes": size_of(path), **written.facts}
                artefact = function(row.open)(path, self._setup.config.data.threads)
                comparison = compare(self._setup, self._prefix, artefact, self._options.validation_images)
                entry |= {"runtime": artefact.runtime, **self._verdict(row, comparison, written.fault)}
                if entry["status"] == "ok":
                    entry |= self._speeds(artefact)
                    accept(path, target)
                    entry["path"] = str(target)
        except RunError as error:
            entry["reason"] = str(error)
        except (OSError, tf.errors.OpError) as error:
            message = f"--export_dir {self._options.folder}: {target} cannot be written: {reason(error)}"
            raise RunError(message) from error
        return entry

    def _speeds(self, artefact: Artefact) -> dict[str, Any]:
        """The entries of the report about speed; none if it is not measured."""
        seconds = self._options.speed_seconds
        if not seconds:
            return {}
        return {"images_per_second": images_per_second(self._setup, self._prefix, artefact, seconds)}

    def _path(self, row: Format) -> Path:
        if "output_file" in row.flags and self._options.output_file is not None:
            return self._options.output_file
        return self._options.folder / row.file

    def _verdict(self, row: Format, comparison: Comparison, fault: str | None) -> dict[str, Any]:
        options, usual = self._options, row.quantized_limits if self._job.quantized else row.limits
        limits = Limits(
            max_drift=usual.max_drift if options.max_drift is None else options.max_drift,
            max_metric_drop=usual.max_metric_drop if options.max_metric_drop is None else options.max_metric_drop,
        )
        failure = comparison.failure(limits) or fault
        return {
            **dataclasses.asdict(comparison),
            **dataclasses.asdict(limits),
            "status": "failed" if failure else "ok",
            "reason": failure,
        }

    def _report(self, entries: list[dict[str, Any]]) -> None:
        facts = {
            name: self._metadata.get(name) for name in ("task", "architecture", "num_classes", "image_size", "step")
        }
        report = {"checkpoint": str(self._prefix), **facts, "artefacts": entries}
        write_atomically(self._options.folder / REPORT, json.dumps(report, indent=1, ensure_ascii=False).encode())


def _check_quantization(row: Format, *, quantized: bool, has_images: bool) -> None:
    """Raises ``UsageError`` if a format does not suit the quantization of the checkpoint."""
    if row.calibrated and not quantized and not has_images:
        raise UsageError(
            f"--format {row.name}: needs --data_dir for its calibration set; this checkpoint was not trained "
            "with quantization"
        )
    if row.unquantized_only and quantized:
        raise UsageError(f"--format {row.name}: this checkpoint was trained with quantization, {row.unquantized_only}")


def size_of(path: Path) -> int:
    """The size in bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)


def line(entry: Mapping[str, Any]) -> str:
    """The console line for an artefact."""
    head = f"{entry['format']:12} {entry['path']}"
    if "drift" not in entry:
        return f"{head}  FAILED: {entry['reason']}"
    differences = ", ".join(f"{name} {value:.3g}" for name, value in entry["largest_difference"].items())
    shown = [f"{entry['bytes'] / 1e6:.1f} MB in {entry['seconds']:.1f} s", f"drift {entry['drift']:.2g}"]
    shown.append(f"largest difference: {differences}")
    if entry["of_checkpoint"] is not None:
        shown.append(
            f"{heading(entry['metric'])} {entry['of_artefact']:.4f}, the checkpoint's {entry['of_checkpoint']:.4f}"
        )
    shown.append(f"on {entry['images']} {'synthetic ' if entry['synthetic'] else ''}images")
    for batch, speed in entry.get("images_per_second", {}).items():
        shown.append(f"batch {batch}: {speed['artefact']:.1f} images/s, the checkpoint {speed['checkpoint']:.1f}")
    return f"{head}  {'; '.join(shown)}; {'FAILED: ' + entry['reason'] if entry['reason'] else 'ok'}"
