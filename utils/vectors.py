"""Many tensors as one vector: a GPU computes one long operation faster than it starts hundreds of short ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

SMALL = 2**16
"""Up to this many values, starting an operation on a GPU takes longer than copying them into a vector and back."""


def joined(tensors: Sequence[Any]) -> Any:
    """The values of all tensors, one after another, as a vector."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def parts(vector: Any, like: Sequence[Any]) -> list[Any]:
    """The parts of a joined vector, in the shapes of ``like``, each in memory of its own."""
    shapes = [tensor.shape for tensor in like]
    sizes = [shape.num_elements() for shape in shapes]
    pieces = tf.split(vector[tf.newaxis], sizes, axis=1)  # along axis 0 they might share the vector's memory
    return [tf.reshape(piece, shape) for piece, shape in zip(pieces, shapes, strict=True)]


def read_together(variables: Sequence[Any]) -> Any:
    """The values of all variables as a vector."""
    return joined([variable.read_value() for variable in variables])


def assign_together(variables: Sequence[Any], vector: Any) -> Any:
    """An operation that assigns the parts of a vector to variables, which take over the memory of the parts."""
    return tf.group(*(v.assign(part) for v, part in zip(variables, parts(vector, variables), strict=True)))


def is_small(variable: Any) -> bool:
    """Returns whether a variable belongs in a vector with others; those of other types than float32 do not."""
    return bool(variable.dtype.base_dtype == tf.float32 and variable.shape.num_elements() <= SMALL)
