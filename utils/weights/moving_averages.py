"""Exponential moving averages of a network's weights, stored in variables of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from utils.state_updates import move

tf1 = tf.compat.v1

SUFFIX = "/ExponentialMovingAverage"
_STATISTIC = re.compile(r"/moving_(mean|variance)$|_quant/(.*/)?(min|max)$")
"""Names of batch-norm statistics and quantization ranges."""


def name_of_average(name: str) -> str:
    """The name of a variable's moving average in checkpoints."""
    return f"{name}{SUFFIX}"


class MovingAverages:
    """Exponential moving averages of all trainable variables, batch-norm statistics and quantization ranges.

    The update is a <- decay * a + (1 - decay) * v. Statistics are averaged like the weights because they describe the
    feature maps that those weights produce; so are quantization ranges, because the mean of ranges contains the mean of
    the values in them. In the first steps the decay is smaller, (1 + n) / (10 + n) after n steps, so that short runs
    forget their initial weights.

    Args:
        decay: Decay of a step, in (0, 1).
        variables: All variables of the network.
        every: Number of steps between two updates, each of which decays as much as these steps together.
    """

    def __init__(self, decay: float, variables: Sequence[Any], every: int = 1) -> None:
        self._decay, self._every = decay, every
        averaged = [v for v in variables if v.trainable or _STATISTIC.search(v.op.name)]
        self._pairs = [(_average_of(v), v) for v in averaged]
        self.begin = {average.op.name: average.assign(v.read_value()) for average, v in self._pairs}
        """Operations that set an average to its variable, by the name of the average."""

    def update(self, step: Any, counts: Any, *, grouped: bool = False) -> Any:
        """Builds the operation that updates the averages; build it after the training update.

        Args:
            step: Scalar, the number of steps done.
            counts: Boolean scalar, false if the step was skipped.
            grouped: Update small averages together.
        """
        done = tf.cast(step, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + done) / (10.0 + done))
        if self._every > 1:
            due = tf.logical_and(counts, tf.equal(step % self._every, 0))
            return tf.cond(due, lambda: self._move(1.0 - decay**self._every, grouped=grouped), tf.no_op)
        return self._move(tf.where(counts, 1.0 - decay, 0.0), grouped=grouped)

    def _move(self, share: Any, *, grouped: bool) -> Any:
        return move([(average, v.read_value()) for average, v in self._pairs], share, grouped=grouped)


def _average_of(variable: Any) -> Any:
    return tf1.get_variable(
        name_of_average(variable.op.name),
        shape=variable.shape,
        dtype=variable.dtype.base_dtype,
        initializer=tf1.zeros_initializer(),
        trainable=False,
        use_resource=True,
    )
