"""The order of training examples that are drawn by class: from seed, epoch and place in the epoch alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from utils.errors import RunError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Balance:
    """The classes to draw by, and the power.

    Attributes:
        classes: ``[n]`` int64, the class of each example of the split; -1 for an example that is never drawn.
        power: A class with m examples is drawn in proportion to m^(1 - power): 1 draws all classes evenly, 0 as often
            as their examples.
    """

    classes: np.ndarray
    power: float


def balanced_order(balance: Balance, places: int, key: tf.Tensor) -> tf.Tensor:
    """The examples of an epoch, ``[places]`` int64 indices in the split.

    Each class gets its share of the places, up to one, which is drawn. Its examples take turns in an order that is
    drawn for the epoch, so that none comes twice before all have come once.

    Args:
        balance: The classes and how to draw them.
        places: The length of the epoch.
        key: Int64 scalar, the only source of randomness.

    Raises:
        RunError: No example has a class.
    """
    members = np.flatnonzero(balance.classes >= 0)
    if not len(members):
        raise RunError("--balanced_sampling: no training example has a usable label")
    _, ranks, counts = np.unique(balance.classes[members], return_inverse=True, return_counts=True)
    shares = counts ** (1.0 - balance.power)
    ends = np.cumsum(shares) * (places / shares.sum())
    first_member = np.cumsum(counts) - counts

    slots = tf.range(places, dtype=tf.float64) + _uniform([], key, 0)
    drawn = tf.minimum(tf.searchsorted(tf.constant(ends), slots, side="right"), len(counts) - 1)  # [places], ascending
    turn = tf.range(places) - tf.searchsorted(drawn, drawn, side="left")
    # The examples class by class, those of a class in random order.
    by_class = tf.argsort(tf.constant(ranks, tf.float64) + _uniform([len(members)], key, 1))
    place = tf.gather(tf.constant(first_member, tf.int32), drawn) + turn % tf.gather(
        tf.constant(counts, tf.int32), drawn
    )
    chosen = tf.gather(tf.constant(members, tf.int64), tf.gather(by_class, place))
    return tf.gather(chosen, tf.argsort(_uniform([places], key, 2)))


def _uniform(shape: list[int], key: tf.Tensor, stream: int) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, tf.stack([key, tf.constant(-2 - stream, tf.int64)]), dtype=tf.float64)
