"""Updates of state that follows a value: batch-norm statistics, quantization ranges, moving averages of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from utils.vectors import assign_together, is_small, joined, read_together

tf1 = tf.compat.v1


def update_state(*, grouped: bool = False) -> Any:
    """An operation that performs the updates of the network in the current graph.

    Layers put them into the collection UPDATE_OPS as tuples of a variable, a value, and the share of the way to the
    value that the variable moves. They are no operations, so that a step whose gradients overflow can leave them out.

    Args:
        grouped: Update small variables together.
    """
    by_share: dict[float, list[tuple[Any, Any]]] = {}
    for variable, value, share in tf1.get_collection(tf1.GraphKeys.UPDATE_OPS):
        by_share.setdefault(share, []).append((variable, value))
    return tf.group(*(move(pairs, share, grouped=grouped) for share, pairs in by_share.items()))


def move(pairs: Sequence[tuple[Any, Any]], share: Any, *, grouped: bool) -> Any:
    """An operation that moves variables by a share of the way to their values; 1.0 assigns the values.

    Args:
        pairs: Variables and their values.
        share: A number or a scalar tensor.
        grouped: Move small variables together; the results are the same bit for bit.
    """
    if isinstance(share, float) and share == 1.0:
        return tf.group(*(variable.assign(value) for variable, value in pairs))
    together: list[tuple[Any, Any]] = []
    alone: list[tuple[Any, Any]] = []
    for variable, value in pairs:
        (together if grouped and is_small(variable) else alone).append((variable, value))
    done = [variable.assign_sub((variable.read_value() - value) * share) for variable, value in alone]
    if together:
        variables, values = zip(*together, strict=True)
        former = read_together(variables)
        done.append(assign_together(variables, former - (former - joined(values)) * share))
    return tf.group(*done)
