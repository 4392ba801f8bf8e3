"""Details of an evaluation: ``evaluation.json`` for the report, and pictures for TensorBoard."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from PIL import Image

from runtime.task import Evaluator, Presenter, Setup
from utils.hooks.measurement import MeasurementHook
from utils.metric_names import INTERVALS
from utils.records.split_files import SplitFiles, split_identity
from utils.records.tfrecord_file import read_record
from utils.reporting.evaluation_file import ERROR_PICTURES, EVALUATION_NAME, histogram, write_evaluation
from utils.reporting.findings import findings, summary_line
from utils.weights.checkpoint_files import read_metadata

_log = logging.getLogger(__name__)
IMAGE_KEY = "image/encoded"
LONGEST_SIDE_PX = 256
EXAMPLE_SIDE_PX = 384
JPEG_QUALITY = 80


def leave_details(
    evaluator: Evaluator,
    setup: Setup,
    weights: Path,
    metrics: Mapping[str, Any],
    measurement: MeasurementHook,
    *,
    printed: bool,
    final: bool,
) -> dict[str, Image.Image]:
    """Writes ``evaluation.json`` to the run's results and, in mode evaluate, logs the findings.

    If that fails for any reason, it logs a warning and the run continues.

    Args:
        evaluator: The evaluator of all examples.
        setup: The evaluated network and data.
        weights: Prefix of the evaluated checkpoint.
        metrics: The metrics as logged, with their intervals.
        measurement: The measurement of the batches.
        printed: The evaluator's findings are in its printed report and are not logged.
        final: No evaluation follows in this run.

    Returns:
        Pictures of some examples with predictions, by their tags in TensorBoard.
    """
    folder = Path(setup.config.run.results_dir)
    try:
        content = {
            "weights": str(weights),
            "step": (read_metadata(weights) or {}).get("step"),
            **_of_metrics(metrics),
            "latency_ms": histogram(measurement.latencies_ms),
            "class_names": setup.task.metadata["class_names"],
            **evaluator.details(final=final),
        }
        examples, files = content.pop("examples"), setup.splits.get("validation")
        content |= _of_split(content, files)
        write_evaluation(folder, content)
        told = content.get("findings", ())
        for finding in () if printed else told:
            _log.info("%s", finding)
        if setup.config.run.mode == "evaluate":
            _explain(content, measurement.result("eval"), told)
        return {} if files is None else _shown(examples, files, setup.task.presenter)
    except Exception as error:  # then only the report is incomplete
        _log.warning(
            "%s: cannot be written (%s); the report will lack the evaluation's details", folder / EVALUATION_NAME, error
        )
        return {}


def _of_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics and their intervals as separate entries."""
    return {
        "metrics": {key: value for key, value in metrics.items() if key != INTERVALS},
        INTERVALS: metrics.get(INTERVALS, {}),
    }


def _explain(content: Mapping[str, Any], speed: Mapping[str, float], told: Sequence[str]) -> None:
    """Logs the result in one sentence, and the findings that were not ``told`` already."""
    _log.info("%s", summary_line(content))
    for finding in findings(content, speed):
        if finding not in told:
            _log.info("%s", finding)


def _of_split(content: Mapping[str, Any], files: SplitFiles | None) -> dict[str, Any]:
    """The split's digest, and the entries with those pictures that are available; each image is read once."""
    if files is None:
        return {}
    lists = {key: content[key] for key in ("pictures", ERROR_PICTURES) if key in content}
    found = {index: _jpeg(index, files) for index in {entry["index"] for each in lists.values() for entry in each}}
    pictures = {key: [{**entry, **found[entry["index"]]} for entry in each] for key, each in lists.items()}
    return {"split": split_identity(files), **pictures}


def _jpeg(index: int, files: SplitFiles) -> dict[str, str]:
    try:
        return {"jpeg": base64.b64encode(thumbnail(files, index)).decode("ascii")}
    except Exception as error:  # Pillow's decoders raise errors of any type
        _log.info("example %d: no picture for the report (%s)", index, error)
        return {}


def _shown(examples: Sequence[Mapping[str, Any]], files: SplitFiles, presenter: Presenter) -> dict[str, Image.Image]:
    """The available pictures of examples, with predictions."""
    pictures = {}
    for entry in examples:
        try:
            image = small_picture(files, entry["index"], EXAMPLE_SIDE_PX)
            pictures[f"examples/{entry['index']}"] = presenter.example(image, entry)
        except Exception as error:  # Pillow's decoders raise errors of any type
            _log.info("example %d: no picture for TensorBoard (%s)", entry["index"], error)
    return pictures


def thumbnail(files: SplitFiles, index: int) -> bytes:
    """A small JPEG of an example of a split; raises the errors of ``small_picture``."""
    buffer = io.BytesIO()
    small_picture(files, index, LONGEST_SIDE_PX).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def small_picture(files: SplitFiles, index: int, side_px: int) -> Image.Image:
    """A picture of a whole example in its own proportions, no side longer than ``side_px``.

    Raises:
        IndexError: The split has no such example.
        Exception: The record holds no image that Pillow can read.
    """
    record = tf.train.Example.FromString(read_record(*files.locate(index)))
    encoded = record.features.feature[IMAGE_KEY].bytes_list.value[0]
    with Image.open(io.BytesIO(encoded)) as image:
        image.draft("RGB", (side_px, side_px))  # lets a JPEG be decoded at a smaller scale
        small = image.convert("RGB")
    small.thumbnail((side_px, side_px))
    return small
