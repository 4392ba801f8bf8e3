"""Examples mixed from two of a batch: mixup blends whole images, CutMix replaces a part of one.

Each row is mixed with its counterpart in the reversed batch. Rows that do not count, and rows whose partner does not
count, stay unchanged. Shape symbols: N batch, H W image, C channels, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

CHOICE_STREAM, CUTMIX_STREAM = 3, 4
"""The random numbers of a step besides the two streams of mixup."""


def mixed(images: Any, labels: Any, mask: Any, alphas: tuple[float, float], seed: Any) -> tuple[Any, Any]:
    """Mixes a replica's batch by mixup or by CutMix; if both are given, by either of them with the same probability.

    Args:
        images: [N, H, W, C], normalized; H and W are static for CutMix.
        labels: [N, K], smoothed.
        mask: [N], 1 for examples that count.
        alphas: Parameters of the Beta distributions of mixup and of CutMix; 0 for none.
        seed: Int64 [2], the same for the same step of a run.
    """
    mixup_alpha, cutmix_alpha = alphas
    if not cutmix_alpha:
        return mixup(images, labels, mask, mixup_alpha, seed)
    own, share = _kept_parts(images, mask, cutmix_alpha, seed)
    if mixup_alpha:
        blend = _beta(tf.shape(images)[0], mixup_alpha, seed)
        blend = tf.where(_counts(mask), blend, 1.0)
        # Both are computed: they cost little, and a branch would make a GPU wait for the host.
        cuts = tf.random.stateless_uniform([], stream(seed, CHOICE_STREAM)) < 0.5
        own, share = tf.where(cuts, own, tf.reshape(blend, [-1, 1, 1, 1])), tf.where(cuts, share, blend)
    return _joined(images, labels, own, share)


def mixup(images: Any, labels: Any, mask: Any, alpha: float, seed: Any) -> tuple[Any, Any]:
    """Blends each example with its counterpart by a weight per row from Beta(alpha, alpha).

    Args:
        images: [N, H, W, C], normalized.
        labels: [N, K], smoothed.
        mask: [N], 1 for examples that count.
        alpha: Parameter of the Beta distribution, above 0.
        seed: Int64 [2], the same for the same step of a run.

    Source: Zhang et al., mixup, arXiv:1710.09412. Differs from the paper: one weight per row, not per batch.
    """
    share = _beta(tf.shape(images)[0], alpha, seed)
    share = tf.where(_counts(mask), share, 1.0)
    return _joined(images, labels, tf.reshape(share, [-1, 1, 1, 1]), share)


def _joined(images: Any, labels: Any, own: Any, share: Any) -> tuple[Any, Any]:
    """Sums each row and its counterpart, by the weights of its own pixels and the share of its own label."""
    narrow = tf.reshape(share, [-1, 1])
    images = own * images + (1.0 - own) * tf.reverse(images, [0])
    return images, narrow * labels + (1.0 - narrow) * tf.reverse(labels, [0])


def _kept_parts(images: Any, mask: Any, alpha: float, seed: Any) -> tuple[Any, Any]:
    """The pixels that each row keeps in CutMix, ``[N, H, W, 1]`` of 0 and 1, and their share, ``[N]``.

    The replaced rectangle has the aspect of the image and, where its center lets it, the area of 1 - Beta(alpha,
    alpha). The share counts the pixels that lie inside.

    Source: Yun et al., CutMix, arXiv:1905.04899. Differs from the paper: one rectangle per row, not per batch.
    """
    count, (height, width) = tf.shape(images)[0], images.shape[1:3]
    drawn = tf.random.stateless_uniform([2, count], stream(seed, CUTMIX_STREAM))
    half = 0.5 * tf.sqrt(1.0 - _beta(count, alpha, seed))

    def replaced(center: Any, size: int) -> Any:
        center = tf.floor(center * size)
        begin, end = tf.floor(center - half * size), tf.floor(center + half * size)
        places = np.arange(size, dtype=np.float32)
        return (places >= begin[:, tf.newaxis]) & (places < end[:, tf.newaxis])

    rows, columns = replaced(drawn[0], height), replaced(drawn[1], width)
    cut = rows[:, :, tf.newaxis] & columns[:, tf.newaxis] & _counts(mask)[:, tf.newaxis, tf.newaxis]
    kept = 1.0 - tf.cast(cut, tf.float32)
    return kept[..., tf.newaxis], tf.reduce_mean(kept, axis=[1, 2])


def _beta(count: Any, alpha: float, seed: Any) -> Any:
    """``[N]`` numbers from Beta(alpha, alpha)."""
    seeds = [stream(seed, offset) for offset in (1, 2)]
    first, second = (tf.random.stateless_gamma([count], own, alpha=alpha) for own in seeds)
    total = first + second
    return tf.where(total > 0, first / tf.where(total > 0, total, 1.0), 0.5)


def stream(seed: Any, offset: int, first: int = 0) -> Any:
    """The seed of one of several streams of random numbers; ``first`` is added to the first number of the seed."""
    with tf.device("/CPU:0"):  # where generators read them, on GPUs too
        return seed + tf.constant([first, offset * 2**31], tf.int64)


def _counts(mask: Any) -> Any:
    return mask * tf.reverse(mask, [0]) > 0
