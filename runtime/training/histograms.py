"""Histograms of a network in training, computed in its graph every n steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from utils.config import DiagnosticsConfig
from utils.hvd_utils import Communicator
from utils.optimizers import Update

tf1 = tf.compat.v1
IMAGES = 4
"""Number of images whose activations are shown: those of the whole batch would take longer than the step."""


def histogram_summary(
    diagnostics: DiagnosticsConfig, communicator: Communicator, endpoints: Mapping[str, Any], update: Update, after: Any
) -> Any:
    """Histograms after every n-th step as a serialized ``Summary``, a string that is empty after other steps.

    "weights/<variable>" are the trainable variables after the step, "gradients/<variable>" the applied gradients, and
    "activations/<endpoint>" the endpoints for the first images of the batch. Values that are not finite count as 0.
    Nothing is computed after skipped steps or steps without histograms.

    Args:
        diagnostics: Interval of the histograms.
        communicator: The processes of the run; rank 0 writes.
        endpoints: Endpoints of the network, each [N, ...].
        update: The update of the step.
        after: The number of the step, read after the update.

    Returns:
        The summary, or None if no histograms are requested.
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
