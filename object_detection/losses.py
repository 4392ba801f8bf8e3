"""Losses of a one-stage detector: focal loss and Huber loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def focal_loss(logits: tf.Tensor, targets: tf.Tensor, *, alpha: float | None = 0.25, gamma: float = 2.0) -> tf.Tensor:
    """Computes a sigmoid cross-entropy that gives well-classified examples little weight.

    Args:
        logits: ``[..., K]``.
        targets: ``[..., K]`` in [0, 1].
        alpha: Weight of positives, with ``1 - alpha`` for negatives; None for no weights.
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


def focal_loss_when_off(logits: tf.Tensor, gamma: float) -> tf.Tensor:
    """Computes ``focal_loss`` of targets 0 with no alpha, ``p^gamma * softplus(z)``, with a gradient of few ops."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow is not typed
    def loss(z: tf.Tensor) -> Any:
        probability, entropy = tf.sigmoid(z), tf.nn.softplus(z)
        factor = tf.square(probability) if gamma == 2.0 else tf.pow(probability, gamma)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return upstream * factor * (gamma * (1.0 - probability) * entropy + probability)

        return factor * entropy, gradient

    return loss(logits)


def focal_loss_of_slots(
    logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, *, alpha: float | None = 0.25, gamma: float = 2.0
) -> tf.Tensor:
    """Sums ``focal_loss`` over anchors with at most one positive class each, with weights.

    The targets are never materialized: the loss first counts all classes as negative, then corrects the positive ones.

    Args:
        logits: ``[N, A, K]``; A and K are static.
        labels: ``[N, A]`` int32, the positive class; -1 for none.
        weights: ``[N, A]``.
        alpha: As in ``focal_loss``.
        gamma: As in ``focal_loss``.
    """
    off = tf.reduce_sum(focal_loss_when_off(logits, gamma), axis=2) * (1.0 if alpha is None else 1.0 - alpha)
    # On GPUs TensorFlow 2.21 computes int32, and the indices in the gradient of a batched gather, in host memory.
    labels = tf.cast(labels, tf.int64)
    _, anchors, classes = logits.shape.as_list()
    rows = anchors * tf.cast(tf.range(tf.shape(labels)[0]), tf.int64)[:, tf.newaxis] + np.arange(anchors)
    chosen = tf.gather(tf.reshape(logits, [-1]), classes * rows + tf.maximum(labels, 0))
    instead = [focal_loss(chosen, tf.fill(tf.shape(chosen), t), alpha=alpha, gamma=gamma) for t in (1.0, 0.0)]
    return tf.reduce_sum(weights * (off + tf.where(labels >= 0, instead[0] - instead[1], 0.0)))


def huber_loss(codes: tf.Tensor, targets: tf.Tensor, *, delta: float = 1.0) -> tf.Tensor:
    """Computes the squared error up to ``delta`` and the absolute error beyond, summed over the last axis.

    Args:
        codes: ``[..., 4]``.
        targets: ``[..., 4]``.
        delta: Error at which the parabola continues as a line of the same slope.

    Returns:
        ``[...]``.
    """
    error = tf.abs(codes - targets)
    near = tf.minimum(error, delta)
    return tf.reduce_sum(0.5 * near * near + delta * (error - near), axis=-1)
