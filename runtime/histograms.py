"""Histograms of a network in training, computed in its graph after the steps that they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from utils.config import DiagnosticsConfig
from utils.hvd_utils import Communicator
from utils.optimizers import Update

tf1 = tf.compat.v1
IMAGES = 4
"""Of how many images of the batch activations are shown: those of all would take longer than the step."""


def histogram_summary(
    diagnostics: DiagnosticsConfig, communicator: Communicator, endpoints: Mapping[str, Any], update: Update, after: Any
) -> Any:
    """Histograms after each n-th step, as a serialized ``Summary``, a string that is empty after the other steps.

    "weights/<variable>" are the trainable variables after the step, "gradients/<variable>" what it applied, and
    "activations/<endpoint>" what the network computed of the first images on the way. Numbers that are not finite count
    as 0. Nothing is computed after a step that is not shown or was skipped.

    Args:
        diagnostics: How often.
        communicator: The processes of the run, of which rank 0 writes.
        endpoints: The network's, each [N, ...].
        update: The step.
        after: The number of the step, read after it.

    Returns:
        None where no histograms are asked for.
    """
    if not diagnostics.histograms_every or communicator.rank > 0:
        return None
    variables = tf1.trainable_variables()

    def summary() -> Any:
        values = {f"weights/{v.op.name}": v.read_value() for v in variables}
        values |= {f"gradients/{name}": tf.convert_to_tensor(g) for name, g in update.gradients.items()}
        values |= {f"activations/{name}": tensor[:IMAGES] for name, tensor in endpoints.items()}
        parts = [tf.raw_ops.HistogramSummary(tag=tag, values=_finite(value)) for tag, value in values.items()]
        return tf.raw_ops.MergeSummary(inputs=parts)

    due = tf.logical_and(tf.equal(after % diagnostics.histograms_every, 0), update.finite)
    return tf.cond(due, summary, lambda: tf.constant(b""))


def _finite(tensor: Any) -> Any:
    values = tf.cast(tensor, tf.float32)
    return tf.where(tf.math.is_finite(values), values, tf.zeros_like(values))
