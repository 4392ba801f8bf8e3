"""The export for serving, ``main.py --export_dir``: a SavedModel in a folder named by the time."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import tensorflow as tf

from runtime.artefacts.exporting import REPORT
from runtime.artefacts.formats import FORMATS
from runtime.artefacts.saved_model import (
    METADATA,
    compare_signatures,
    open_saved_model,
    signatures_differ,
    write_saved_model,
)
from runtime.artefacts.unverified import accept, unverified
from runtime.artefacts.verification import compare
from runtime.evaluation import chosen_weights
from runtime.task import Setup
from utils.errors import RunError, reason

VALIDATION_IMAGES = 16


def export_for_serving(setup: Setup, prefix: Path, export_dir: Path) -> Path:
    """Writes a SavedModel to ``<export_dir>/<seconds since 1970>/`` and compares it with the checkpoint.

    The signatures are those of ``saved_model.write_saved_model``. The metadata of the weights are in
    ``assets.extra/metadata.json``, the result of the comparison in ``assets.extra/export_report.json``. A model that
    differs from the checkpoint stays in the subfolder ``unverified``.

    Raises:
        RunError: The checkpoint does not fit, the folder is not writable, or the model differs from the checkpoint.
    """
    target = export_dir / str(int(time.time()))
    while target.exists():
        target = target.with_name(str(int(target.name) + 1))
    try:
        with unverified(target, "serving") as folder:
            failure = _write_and_compare(setup, prefix, folder)
            if failure is None:
                accept(folder, target)
    except (OSError, tf.errors.OpError) as error:
        raise RunError(f"--export_dir {export_dir}: cannot be written to: {reason(error)}") from error
    if failure:
        raise RunError(f"{folder}: differs from {prefix}: {failure}")
    return target


def _write_and_compare(setup: Setup, prefix: Path, folder: Path) -> str | None:
    """Writes a model and the report of its comparison; returns the reason why it fails, or None."""
    metadata = {**setup.metadata, **setup.task.metadata}  # the flags may differ from the checkpoint's values
    metadata["eval_weights"] = chosen_weights(prefix, setup.config.moving_average.eval_weights)
    metadata["artefact"] = {"format": "saved_model", "precision": setup.precision.name}
    write_saved_model(setup, prefix, folder, metadata)
    comparison = compare(setup, prefix, open_saved_model(folder), VALIDATION_IMAGES)
    between = compare_signatures(setup, folder)
    failure = comparison.failure(FORMATS["saved_model"].limits) or signatures_differ(between)
    found = {**dataclasses.asdict(comparison), "largest_difference_of_signatures": between, "reason": failure}
    (folder / METADATA.with_name(REPORT)).write_text(json.dumps(found, indent=1), encoding="utf-8")
    return failure
