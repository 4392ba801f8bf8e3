"""Variables of layers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

tf1 = tf.compat.v1


def variable(name: str, shape: tuple[int, ...], initializer: Any, *, trainable: bool = True) -> tf.Variable:
    """Creates a float32 variable in the current scope, or reuses it."""
    return tf1.get_variable(
        name, shape=shape, dtype=tf.float32, initializer=initializer, trainable=trainable, use_resource=True
    )


def update_later(target: tf.Variable, value: tf.Tensor, share: float = 1.0) -> None:
    """Has a training step move a variable by a share of the way to a value; 1.0 assigns the value.

    The collection UPDATE_OPS holds tuples of the arguments instead of operations, so that a step whose gradients
    overflow can leave them out.
    """
    tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, (target, value, share))
