"""A checkpoint as artefacts of several formats, each of which is opened, run and compared before it counts."""

from __future__ import annotations

import dataclasses
import gc
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.artefacts.calibration import batches, calibration_images, calibration_split
from runtime.artefacts.formats import FORMATS, Format
from runtime.artefacts.frozen_graph import write_frozen_graph
from runtime.artefacts.inference_graph import ConstantNetwork, InputSpec, constant_network, read_weights
from runtime.artefacts.loading import open_artefact, require_packages
from runtime.artefacts.onnx_model import OPSET, check_opset, write_onnx
from runtime.artefacts.saved_model import write_saved_model
from runtime.artefacts.tflite_model import convert, not_in_int8, operators, write_tflite
from runtime.artefacts.verification import Comparison, compare, compare_signatures, signatures_differ
from runtime.evaluation import chosen_weights
from runtime.task import Setup
from utils.config import ExperimentConfig
from utils.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, RunError, UsageError, reason
from utils.files.atomic_file import write_atomically
from utils.hooks.hook import Hook

_log = logging.getLogger(__name__)

REPORT = "export_report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What is exported, and how it is judged.

    Attributes:
        formats: Rows of ``FORMATS``.
        folder: Where artefacts and report go.
        output_file: Where the frozen graph goes instead.
        batch_size: Images that the artefacts take, or None for any number.
        layout: Of their input.
        calibration_images: How many set the ranges of int8.
        validation_images: How many are compared.
        max_drift: In place of each format's own, or None.
        max_metric_drop: In place of each format's own, or None.
        opset: Of ONNX.
        text: Whether a frozen graph is written as text too.
    """

    formats: tuple[str, ...]
    folder: Path
    output_file: Path | None = None
    batch_size: int | None = None
    layout: str = "NHWC"
    calibration_images: int = 100
    validation_images: int = 64
    max_drift: float | None = None
    max_metric_drop: float | None = None
    opset: int = OPSET
    text: bool = False


def export(
    config: ExperimentConfig, set_up: Callable[[ExperimentConfig], Setup], options: ExportOptions, stop: Hook
) -> int:
    """Exports the checkpoint of a configuration; returns the exit status.

    Args:
        config: An evaluation of it, on data or on noise.
        set_up: Resolves configurations.
        options: What is wanted.
        stop: Wants to where a signal came; what is being written is finished first.

    Raises:
        UsageError: Something that was asked for cannot be done.
        RunError: The checkpoint or the data are damaged, or the folder cannot be written to.
    """
    check_opset(options.opset)
    for name in options.formats:
        require_packages(name)
    prepare_folder(options.folder)
    setup = set_up(config)
    calibration = None
    if "tflite_int8" in options.formats and config.data.data_dir:
        data = dataclasses.replace(config.data, eval_split=calibration_split(Path(config.data.data_dir)))
        calibration = set_up(dataclasses.replace(config, data=data))
    return Exporter(setup, calibration, options).run(stop)


def prepare_folder(export_dir: Path) -> None:
    """Makes the folder for exports, so that one that cannot be is known before the work that it is for.

    Raises:
        UsageError: It cannot be made.
    """
    try:
        export_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--export_dir {export_dir}: cannot be written to: {error.strerror}") from error


class Exporter:
    """Writes the formats of one checkpoint.

    Args:
        setup: The network, and the validation images to compare on.
        calibration: The same, its validation images being those that set the ranges of int8; None without data.
        options: What is wanted.
    """

    def __init__(self, setup: Setup, calibration: Setup | None, options: ExportOptions) -> None:
        self._setup = setup
        self._calibration = calibration
        self._options = options
        self._prefix = setup.required_checkpoint
        which = chosen_weights(self._prefix, setup.config.tuning.eval_weights)
        self._metadata = {**setup.metadata, **setup.task.metadata(), "eval_weights": which}
        if "tflite_int8" in options.formats and calibration is None and not self._has_ranges:
            raise UsageError(
                "--format tflite_int8: needs --data_dir, whose images set the ranges; this checkpoint was not trained "
                "with quantization"
            )
        if "tflite_fp16" in options.formats and self._has_ranges:
            raise UsageError(
                "--format tflite_fp16: this checkpoint was trained with quantization, which leaves nothing to be "
                "float16; take tflite_int8"
            )
        self._networks = self._build(read_weights(setup, self._prefix))

    def run(self, stop: Hook) -> int:
        """Exports everything, writes the report, and returns the status: 1 where an artefact failed."""
        entries: list[dict[str, Any]] = []
        for name in self._options.formats:
            if stop.wants_stop:
                _log.warning("stopped by a signal before --format %s: rerun the same command", name)
                return EXIT_PREEMPTED
            entry = self._export(name)
            entries.append(entry)
            print(line(entry), flush=True)
            gc.collect()  # graphs and sessions hold each other, and the weights
            self._report(entries)
        failed = [entry for entry in entries if entry["status"] == "failed"]
        for entry in failed:
            _log.critical("--format %s: failed: %s", entry["format"], entry["reason"])
        return EXIT_FAILED if failed else EXIT_DONE

    def _export(self, name: str) -> dict[str, Any]:
        """One format: written, opened, compared; what came of it."""
        row, path = FORMATS[name], self._path(name)
        entry: dict[str, Any] = {"format": name, "path": str(path), "status": "failed", "reason": None}
        began = time.perf_counter()
        try:
            more = self._write(name, row, path)
            entry |= {"seconds": round(time.perf_counter() - began, 2), "bytes": size_of(path), **more}
            artefact = open_artefact(path, self._setup.config.data.threads)
            comparison = compare(self._setup, self._prefix, artefact, self._options.validation_images)
            entry |= {"runtime": artefact.runtime, **self._judged(row, comparison, entry)}
        except RunError as error:
            entry["reason"] = str(error)
        except (OSError, tf.errors.OpError) as error:
            raise RunError(f"--export_dir {self._options.folder}: {path} cannot be written: {reason(error)}") from error
        return entry

    def _path(self, name: str) -> Path:
        if name == "frozen" and self._options.output_file is not None:
            return self._options.output_file
        return self._options.folder / FORMATS[name].file

    def _write(self, name: str, row: Format, path: Path) -> dict[str, Any]:
        """Writes an artefact; returns what is to be reported of it beside its comparison."""
        metadata = {**self._metadata, "artefact": {"format": name, "precision": row.precision}}
        if name == "saved_model":
            write_saved_model(self._setup, self._prefix, path, metadata)
            return {"largest_difference_of_signatures": compare_signatures(self._setup, path)}
        network = self._networks[kind_of(name)]
        if name == "frozen":
            write_frozen_graph(network, path, metadata, text=self._options.text)
            return {}
        if name == "onnx":
            counts = write_onnx(network, path, metadata, self._options.opset)
            return {"opset": self._options.opset, "operators": dict(sorted(counts.items()))}
        model = convert(network, self._tflite_outputs(row), row.precision, self._ranges(row))
        write_tflite(model, path, metadata)
        return {"operators": dict(sorted(operators(model).items()))}

    def _build(self, weights: Mapping[str, np.ndarray]) -> dict[str, ConstantNetwork]:
        """The networks that formats are made of; TFLite needs another where training quantized."""
        task, kinds = self._setup.task, {kind_of(name) for name in self._options.formats} - {"saved_model"}
        networks = {}
        if kinds - {"tflite"} or ("tflite" in kinds and not self._has_ranges):
            networks = dict.fromkeys(kinds, constant_network(task, weights, self._spec))
        if "tflite" in kinds and self._has_ranges:
            networks["tflite"] = constant_network(task.with_fake_quant(), weights, self._spec)
        return networks

    @property
    def _has_ranges(self) -> bool:
        """Whether the network was trained with quantization."""
        return self._setup.config.model.quantization is not None

    @property
    def _spec(self) -> InputSpec:
        size = int(self._setup.config.model.image_size or 0)
        return InputSpec(image_size=size, batch_size=self._options.batch_size, layout=self._options.layout)

    def _tflite_outputs(self, row: Format) -> tuple[str, ...]:
        """Where a model ends: TFLite has no suppression of several classes, and int8 is too coarse for a softmax."""
        ends = tuple(self._setup.task.ends)
        simple = () if self._setup.task.heads or row.precision == "int8" else ("probabilities",)
        return (*ends, *simple)

    def _ranges(self, row: Format) -> Any:
        """The images that set the ranges of int8; None where nothing is quantized or training set them."""
        if row.precision != "int8" or self._has_ranges or self._calibration is None:
            return None
        images = calibration_images(self._calibration, self._options.calibration_images)
        batch = self._options.batch_size or 1
        if len(images) < batch:
            raise RunError(f"--calibration_images: {len(images)} images could be read; a batch needs {batch}")
        return lambda: batches(images, batch, self._spec.shape)

    def _judged(self, row: Format, comparison: Comparison, entry: Mapping[str, Any]) -> dict[str, Any]:
        options = self._options
        if self._has_ranges and entry["format"] not in (
            "saved_model",
            "frozen",
        ):  # where numbers are rounded to 8 bits, others are rounded apart
            row = FORMATS["tflite_int8"]
        max_drift = row.max_drift if options.max_drift is None else options.max_drift
        max_drop = row.max_metric_drop if options.max_metric_drop is None else options.max_metric_drop
        failure = comparison.failure(max_drift, max_drop)
        in_float = not_in_int8(entry["operators"]) if entry["format"] == "tflite_int8" else []
        if in_float and not failure:
            failure = f"not all of it is in int8: {', '.join(in_float)}"
        failure = failure or signatures_differ(entry.get("largest_difference_of_signatures", 0.0))
        return {
            **dataclasses.asdict(comparison),
            "max_drift": max_drift,
            "max_metric_drop": max_drop,
            "status": "failed" if failure else "ok",
            "reason": failure,
        }

    def _report(self, entries: list[dict[str, Any]]) -> None:
        facts = {
            name: self._metadata.get(name) for name in ("task", "architecture", "num_classes", "image_size", "step")
        }
        report = {"checkpoint": str(self._prefix), **facts, "artefacts": entries}
        write_atomically(self._options.folder / REPORT, json.dumps(report, indent=1, ensure_ascii=False).encode())


def kind_of(name: str) -> str:
    """What a format is without its precision: "tflite" of "tflite_int8"."""
    return name if name == "saved_model" else name.partition("_")[0]


def size_of(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)


def line(entry: Mapping[str, Any]) -> str:
    """What the console says of an artefact."""
    head = f"{entry['format']:12} {entry['path']}"
    if "drift" not in entry:
        return f"{head}  FAILED: {entry['reason']}"
    differences = ", ".join(f"{name} {value:.3g}" for name, value in entry["largest_difference"].items())
    shown = [f"{entry['bytes'] / 1e6:.1f} MB in {entry['seconds']:.1f} s", f"drift {entry['drift']:.2g}"]
    shown.append(f"largest difference: {differences}")
    if entry["of_checkpoint"] is not None:
        shown.append(f"{entry['metric']} {entry['of_artefact']:.4f}, the checkpoint's {entry['of_checkpoint']:.4f}")
    shown.append(f"on {entry['images']} {'synthetic ' if entry['synthetic'] else ''}images")
    return f"{head}  {'; '.join(shown)}; {'FAILED: ' + entry['reason'] if entry['reason'] else 'ok'}"
