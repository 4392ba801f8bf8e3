"""Losses of classifiers, one row each, for logits and soft targets.

Shape symbols: N batch, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from utils.metric_names import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, FOCAL_LOSS
from utils.optimizer_config import FOCAL_GAMMA, OptimizerConfig

_SMALLEST = 1e-7  # below it, float32 cannot tell 1 - p from 0, where the power has no gradient

LossOfExamples = Callable[[Any, Any, OptimizerConfig], Any]
"""The loss of each example, [N], given logits and targets, [N, K] each."""


def cross_entropy(logits: Any, labels: Any) -> Any:
    """The cross-entropy of the softmax, [N]."""
    return tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def binary_cross_entropy(logits: Any, labels: Any, weights: Any = None) -> Any:
    """The mean over the classes of each one's binary cross-entropy, [N], for logits and targets of [N, K].

    ``weights``, [K], multiply the part of the classes that are present.

    Source: Wightman et al., ResNet strikes back, arXiv:2110.00476, section 2.
    """
    if weights is None:
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits), axis=1)
    return tf.reduce_mean(tf.nn.weighted_cross_entropy_with_logits(labels, logits, weights), axis=1)


def divergence(teacher: Any, student: Any, temperature: float) -> Any:
    """The Kullback-Leibler divergence [N] of a student's softmax from its teacher's, for logits [N, K].

    Source: Hinton et al., Distilling the Knowledge in a Neural Network, arXiv:1503.02531, section 2. It multiplies this
    loss by the square of the temperature, because its gradients are smaller by that.
    """
    theirs, ours = (tf.nn.log_softmax(logits / temperature) for logits in (teacher, student))
    return tf.reduce_sum(tf.exp(theirs) * (theirs - ours), axis=1)


def focal_loss(logits: Any, labels: Any, gamma: float) -> Any:
    """The focal loss of the softmax, [N]: the sum over the classes of -t (1 - p)^gamma ln p, for targets t.

    With ``gamma`` 0 it is the cross-entropy.

    Source: Lin et al., Focal loss for dense object detection, arXiv:1708.02002, equation 4. Differs from the paper:
    p is the softmax's probability of the class, and targets may be soft.
    """
    logs = tf.nn.log_softmax(logits)
    rest = tf.maximum(-tf.math.expm1(logs), _SMALLEST)
    return -tf.reduce_sum(labels * tf.pow(rest, gamma) * logs, axis=1)


def _focal(logits: Any, labels: Any, settings: OptimizerConfig) -> Any:
    return focal_loss(logits, labels, FOCAL_GAMMA if settings.focal_gamma is None else settings.focal_gamma)


LOSS_ROWS: dict[str, tuple[str, LossOfExamples]] = {
    "softmax": (CROSS_ENTROPY, lambda logits, labels, settings: cross_entropy(logits, labels)),
    "bce": (BINARY_CROSS_ENTROPY, lambda logits, labels, settings: binary_cross_entropy(logits, labels)),
    "focal": (FOCAL_LOSS, _focal),
}
"""By the name of ``--loss``: the log key and the function."""
