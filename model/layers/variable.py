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
