"""Which groundtruth box each anchor stands for."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

UNMATCHED = -1
IGNORED = -2


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """Gives each anchor the groundtruth box that it overlaps most, if it does so enough.

    Attributes:
        matched_threshold: At least so similar is a match.
        unmatched_threshold: Less than this is background; what lies between the two is ignored.
        negatives_lower_than_unmatched: False swaps those last two: what lies between is background, what is less,
            ignored.
        force_match: Each valid groundtruth box also gets the anchor that it overlaps most, however little.
    """

    matched_threshold: float = 0.5
    unmatched_threshold: float = 0.5
    negatives_lower_than_unmatched: bool = True
    force_match: bool = True

    def __post_init__(self) -> None:
        if self.unmatched_threshold > self.matched_threshold:
            raise ValueError(
                f"unmatched_threshold {self.unmatched_threshold}: must be at most matched_threshold "
                f"{self.matched_threshold}"
            )
        if not self.negatives_lower_than_unmatched and self.unmatched_threshold == self.matched_threshold:
            raise ValueError("negatives_lower_than_unmatched false: needs two different thresholds")

    def match(self, similarity: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """Matches the anchors of a batch.

        Of equal similarities the lowest index wins. Where two boxes force the same anchor, the lower one gets it.

        Args:
            similarity: ``[N, G, A]``.
            valid: ``[N, G]`` boolean, False for padding, which matches nothing.

        Returns:
            ``[N, A]`` int32: the index of a groundtruth box, ``UNMATCHED`` or ``IGNORED``.
        """
        similarity = tf.where(valid[..., tf.newaxis], similarity, -tf.ones_like(similarity))
        with_none = tf.pad(similarity, [(0, 0), (0, 1), (0, 0)], constant_values=-1.0)  # there may be no box at all
        best, best_value = tf.argmax(with_none, axis=1, output_type=tf.int32), tf.reduce_max(with_none, axis=1)
        below, between = UNMATCHED, IGNORED
        if not self.negatives_lower_than_unmatched:
            below, between = between, below
        short = tf.where(best_value < self.unmatched_threshold, below, between)
        matches = tf.where(best_value >= self.matched_threshold, best, short)
        if not self.force_match:
            return matches
        favourites = tf.argmax(similarity, axis=2, output_type=tf.int32)
        forced = tf.equal(favourites[..., tf.newaxis], tf.range(tf.shape(similarity)[2])) & valid[..., tf.newaxis]
        forced = tf.pad(forced, [(0, 0), (0, 1), (0, 0)])
        first = tf.argmax(tf.cast(forced, tf.int8), axis=1, output_type=tf.int32)
        return tf.where(tf.reduce_any(forced, axis=1), first, matches)
