"""Export of a checkpoint as a SavedModel, normalization included."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import tensorflow as tf

from runtime.evaluation import load_weights
from runtime.graphs import build_predict_graph
from runtime.task import Setup
from utils.errors import RunError, UsageError, reason

tf1 = tf.compat.v1

INPUT_NAME = "input_tensor"
SIGNATURES = ("serving_default", "predict")


def prepare_folder(export_dir: Path) -> None:
    """Makes the folder for exports, so that one that cannot be is known before the work that it is for.

    Raises:
        UsageError: It cannot be made.
    """
    try:
        export_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--export_dir {export_dir}: cannot be written to: {error.strerror}") from error


def export_saved_model(setup: Setup, prefix: Path, export_dir: Path) -> Path:
    """Writes ``<export_dir>/<seconds since 1970>/`` and returns it.

    Input "input": float32 [-1, S, S, 3], raw RGB in 0..255. Outputs of classification: "classes" int32 [-1] and
    "probabilities" float32 [-1, K]. The metadata of the weights lies in ``assets.extra/metadata.json``.

    Raises:
        RunError: The checkpoint does not fit, or the folder cannot be written to.
    """
    size = setup.config.model.image_size
    graph = tf.Graph()
    with graph.as_default():
        images = tf1.placeholder(tf.float32, [None, size, size, 3], name=INPUT_NAME)
    predict = build_predict_graph(setup.task, graph, images)
    folder = export_dir / str(int(time.time()))
    while folder.exists():
        folder = folder.with_name(str(int(folder.name) + 1))
    with tf1.Session(graph=graph, config=setup.session_config) as session:
        which, _ = load_weights(session, predict, prefix, setup.config.tuning.eval_weights)
        try:
            _write(session, predict, folder)
            extra = folder / "assets.extra"
            extra.mkdir()
            metadata = {
                **setup.metadata,
                **setup.task.metadata(),
                "eval_weights": which,
            }  # the flags may differ from the checkpoint's values
            (extra / "metadata.json").write_text(json.dumps(metadata, indent=1, ensure_ascii=False), encoding="utf-8")
        except (OSError, tf.errors.OpError) as error:
            raise RunError(f"--export_dir {export_dir}: cannot be written to: {reason(error)}") from error
    return folder


def _write(session: Any, predict: Any, folder: Path) -> None:
    with predict.graph.as_default():
        signature = tf1.saved_model.predict_signature_def({"input": predict.images}, predict.predictions)
        builder = tf1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session, [tf1.saved_model.tag_constants.SERVING], dict.fromkeys(SIGNATURES, signature)
        )
        builder.save()
