"""Adaptive gradient clipping: each unit's gradient is limited by the size of the unit's weights."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tensorflow as tf

LARGEST_RATIO = 0.01
"""Largest norm of a gradient relative to that of the weights."""
SMALLEST_NORM = 1e-3
"""The norm that smaller weights count as, so that those at 0 can move."""


def clipped_by_unit(gradient: Any, weights: Any) -> Any:
    """The gradient with the norm of each unit at most ``LARGEST_RATIO`` times the norm of the unit's weights.

    A unit is an output channel: the weights [H, W, C, .] or [C, .] that it sums over. A vector is one unit.

    Source: Brock et al., High-Performance Large-Scale Image Recognition Without Normalization, arXiv:2102.06171,
    section 4.1.
    """
    axes = list(range(max(len(gradient.shape) - 1, 1)))

    def norm(tensor: Any) -> Any:
        return tf.sqrt(tf.reduce_sum(tf.square(tensor), axis=axes, keepdims=True))

    limit = LARGEST_RATIO * tf.maximum(norm(weights), SMALLEST_NORM)
    return gradient * (limit / tf.maximum(norm(gradient), limit))


def with_units_clipped(pairs: list[tuple[Any, Any]], names: Collection[str]) -> list[tuple[Any, Any]]:
    """Gradients and variables, with the gradients of the named variables clipped by unit."""
    return [(clipped_by_unit(g, v.read_value()) if v.op.name in names else g, v) for g, v in pairs]
