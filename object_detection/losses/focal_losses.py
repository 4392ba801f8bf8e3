"""Losses of the classes of a one-stage detector: focal losses."""

from __future__ import annotations

from collections.abc import Callable
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


def quality_focal_loss(logits: tf.Tensor, targets: tf.Tensor, *, beta: float = 2.0) -> tf.Tensor:
    """Computes a sigmoid cross-entropy with soft targets, weighted by the distance between target and probability.

    Args:
        logits: ``[...]``.
        targets: ``[...]`` in [0, 1], the quality of the box, such as its overlap.
        beta: Exponent of the distance.

    Source: Li et al., Generalized Focal Loss, equation 5, arXiv:2006.04388.
    """
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    distance = targets - tf.sigmoid(logits)
    return (tf.square(distance) if beta == 2.0 else tf.pow(tf.abs(distance), beta)) * entropy


def focal_loss_of_slots(
    logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, *, alpha: float | None = 0.25, gamma: float = 2.0
) -> tf.Tensor:
    """Sums ``focal_loss`` over anchors with at most one positive class each, with weights.

    Args:
        logits: ``[N, A, K]``; A and K are static.
        labels: ``[N, A]`` int32, the positive class; -1 for none.
        weights: ``[N, A]``.
        alpha: As in ``focal_loss``.
        gamma: As in ``focal_loss``.
    """
    share = 1.0 if alpha is None else 1.0 - alpha

    def instead(chosen: tf.Tensor) -> tf.Tensor:
        ends = (focal_loss(chosen, tf.fill(tf.shape(chosen), t), alpha=alpha, gamma=gamma) for t in (1.0, 0.0))
        return next(ends) - next(ends)

    return _sum_of_slots(logits, labels, weights, gamma, share, instead)


def quality_focal_loss_of_slots(
    logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, qualities: tf.Tensor, *, beta: float = 2.0
) -> tf.Tensor:
    """Sums ``quality_focal_loss`` over anchors with at most one positive class each, with weights.

    Args:
        logits: ``[N, A, K]``; A and K are static.
        labels: ``[N, A]`` int32, the positive class; -1 for none.
        weights: ``[N, A]``.
        qualities: ``[N, A]``, the targets of the positive classes.
        beta: As in ``quality_focal_loss``.
    """

    def instead(chosen: tf.Tensor) -> tf.Tensor:
        return quality_focal_loss(chosen, qualities, beta=beta) - focal_loss_when_off(chosen, beta)

    return _sum_of_slots(logits, labels, weights, beta, 1.0, instead)


def _sum_of_slots(
    logits: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    gamma: float,
    share: float,
    instead: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Sums ``share * focal_loss_when_off`` over all classes, and ``instead`` of the logits [N, A] of positive ones.

    The targets are never materialized: the loss first counts all classes as negative, then corrects the positive ones.
    """
    off = tf.reduce_sum(focal_loss_when_off(logits, gamma), axis=2) * share
    # On GPUs TensorFlow 2.21 computes int32, and the indices in the gradient of a batched gather, in host memory.
    labels = tf.cast(labels, tf.int64)
    _, anchors, classes = logits.shape.as_list()
    rows = anchors * tf.cast(tf.range(tf.shape(labels)[0]), tf.int64)[:, tf.newaxis] + np.arange(anchors)
    chosen = tf.gather(tf.reshape(logits, [-1]), classes * rows + tf.maximum(labels, 0))
    return tf.reduce_sum(weights * (off + tf.where(labels >= 0, instead(chosen), 0.0)))
