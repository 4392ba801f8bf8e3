"""Losses of a one-stage detector, per anchor and summed by whoever asks."""

from __future__ import annotations

import tensorflow as tf


def focal_loss(logits: tf.Tensor, targets: tf.Tensor, *, alpha: float | None = 0.25, gamma: float = 2.0) -> tf.Tensor:
    """Sigmoid cross-entropy that counts what is already right little.

    Args:
        logits: ``[..., K]``.
        targets: ``[..., K]`` in [0, 1].
        alpha: Weight of positives, with ``1 - alpha`` for negatives; None weighs neither.
        gamma: Exponent of the modulating factor ``(1 - p_t)``.

    Returns:
        ``[..., K]``.

    Source: Lin et al., Focal Loss for Dense Object Detection, arXiv:1708.02002.
    """
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    loss = entropy
    if gamma:
        probability = tf.sigmoid(logits)
        wrong = targets * (1.0 - probability) + (1.0 - targets) * probability
        loss = tf.pow(wrong, gamma) * loss if gamma != 2.0 else wrong * wrong * loss
    if alpha is not None:
        loss = (targets * alpha + (1.0 - targets) * (1.0 - alpha)) * loss
    return loss


def huber_loss(codes: tf.Tensor, targets: tf.Tensor, *, delta: float = 1.0) -> tf.Tensor:
    """Squared error near zero and absolute error beyond ``delta``, summed over the last axis.

    Args:
        codes: ``[..., 4]``.
        targets: ``[..., 4]``.
        delta: Where the parabola becomes a line of the same slope.

    Returns:
        ``[...]``.
    """
    error = tf.abs(codes - targets)
    near = tf.minimum(error, delta)
    return tf.reduce_sum(0.5 * near * near + delta * (error - near), axis=-1)
