"""The random factors of stochastic depth and dropout: 0 where a part is dropped, else what keeps the mean.

A draw depends on the seed, the step and the image's place in the global batch, so it is the same on any number of
processes and for a batch in parts. Shape symbols: N images of this process, G of all processes, B residual blocks,
C features.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from runtime.classification.mixing import stream
from runtime.task import TensorMap
from utils.input.batching import Shard
from utils.optimizer_config import OptimizerConfig

BRANCH_FACTORS, FEATURE_FACTORS = "branch_factors", "feature_factors"
DEPTH_STREAM, DROPOUT_STREAM = 5, 6
"""The random numbers of a step besides those of ``runtime.classification.mixing``."""
SEEDS_OF_RANK = 2**33
"""Distance of the seeds of two processes, beyond those of a run, which have 31 bits and a purpose."""


def branch_probabilities(last: float, blocks: int) -> list[float]:
    """The probability of dropping each block's branch: it rises linearly from ``last / blocks`` to ``last``.

    Source: Huang et al., Deep Networks with Stochastic Depth, arXiv:1603.09382, equation 4.
    """
    return [last * number / blocks for number in range(1, blocks + 1)]


def drop_factors(config: OptimizerConfig, blocks: int, features: int, count: int, shard: Shard, seed: Any) -> TensorMap:
    """The factors of a batch by name, for what the configuration drops.

    Args:
        config: The probabilities.
        blocks: Number of residual blocks, B.
        features: Number of features before the last layer, C.
        count: Images of this process, N.
        shard: The place of this process's images in the global batch.
        seed: Int64 [2], the same for the same step of a run but for ``SEEDS_OF_RANK`` times the shard's index.

    Returns:
        "branch_factors" [N, B] with ``--stochastic_depth``, and "feature_factors" [N, C] with ``--dropout``.
    """
    found: TensorMap = {}
    if config.stochastic_depth > 0:
        probabilities = tf.constant(branch_probabilities(config.stochastic_depth, blocks))
        found[BRANCH_FACTORS] = _factors(_drawn(blocks, count, shard, seed, DEPTH_STREAM), probabilities)
    if config.dropout > 0:
        probability = tf.constant(config.dropout)
        found[FEATURE_FACTORS] = _factors(_drawn(features, count, shard, seed, DROPOUT_STREAM), probability)
    return found


def _drawn(columns: int, count: int, shard: Shard, seed: Any, number: int) -> Any:
    """This process's rows [N, columns] of the uniform numbers [G, columns] of a step."""
    shared = stream(seed, number, -shard.index * SEEDS_OF_RANK)
    drawn = tf.random.stateless_uniform([count * shard.count, columns], shared)
    return drawn[shard.index * count : (shard.index + 1) * count]


def _factors(drawn: Any, probability: Any) -> Any:
    return tf.where(drawn < probability, 0.0, 1.0 / (1.0 - probability))
