"""The logits of given probabilities, where a network states no others: it is exported, or merges two views."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

SMALLEST_PROBABILITY = 1e-37  # the smallest numbers of float32 count as 0 on some devices


def log_probabilities(probabilities: Any) -> Any:
    """Logits whose softmax gives these probabilities, of any shape."""
    return tf.math.log(tf.maximum(probabilities, SMALLEST_PROBABILITY))


def log_odds(probabilities: Any) -> Any:
    """Logits whose sigmoid gives these probabilities, of any shape."""
    return tf.math.log(
        tf.maximum(probabilities, SMALLEST_PROBABILITY) / tf.maximum(1.0 - probabilities, SMALLEST_PROBABILITY)
    )
