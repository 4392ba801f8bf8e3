"""Stochastic depth and dropout: their factors, and what these do to a network."""

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import BASIC_NAMES, ResNetNames, ResNetSpec
from runtime.classification.dropping import (
    BRANCH_FACTORS,
    FEATURE_FACTORS,
    SEEDS_OF_RANK,
    branch_probabilities,
    drop_factors,
)
from utils.input.batching import Shard
from utils.optimizer_config import OptimizerConfig

tf1 = tf.compat.v1
BOTH = OptimizerConfig(stochastic_depth=0.4, dropout=0.25)


def factors(config, count, shard=None, step=7, blocks=4, features=6):
    with tf.Graph().as_default(), tf1.Session() as session:
        shard = shard or Shard()
        seed = tf.constant([11 + shard.index * SEEDS_OF_RANK, step], tf.int64)
        return session.run(drop_factors(config, blocks, features, count, shard, seed))


def test_processes_draw_the_parts_of_what_one_process_draws():
    whole = factors(BOTH, 12)
    parts = [factors(BOTH, 4, Shard(index=rank, count=3)) for rank in range(3)]
    for name in (BRANCH_FACTORS, FEATURE_FACTORS):
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole[name])
        assert np.any(factors(BOTH, 12, step=8)[name] != whole[name])
        assert len(np.unique(whole[name], axis=0)) > 1  # images differ


def test_blocks_are_dropped_more_often_towards_the_end_and_the_mean_is_kept():
    assert branch_probabilities(0.4, 4) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    drawn = factors(BOTH, 20_000)
    branches, features = drawn[BRANCH_FACTORS], drawn[FEATURE_FACTORS]
    for column, probability in enumerate((0.1, 0.2, 0.3, 0.4)):
        assert np.mean(branches[:, column] == 0) == pytest.approx(probability, abs=0.02)
        assert np.unique(branches[:, column]) == pytest.approx([0, 1 / (1 - probability)])
    assert np.mean(features == 0) == pytest.approx(0.25, abs=0.01)
    assert np.unique(features) == pytest.approx([0, 1 / 0.75])
    assert np.mean(branches) == pytest.approx(1.0, abs=0.02)
    assert abs(np.corrcoef(branches[:, 2], branches[:, 3])[0, 1]) < 0.03


def test_what_is_off_is_not_drawn():
    assert factors(OptimizerConfig(), 4) == {}
    assert set(factors(OptimizerConfig(dropout=0.1), 4)) == {FEATURE_FACTORS}


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_an_image_without_its_branches_passes_blocks_as_it_is_and_features_are_scaled(kind):
    names = {"basic": BASIC_NAMES}.get(kind, ResNetNames())
    sizes = {"block": kind, "names": names, "blocks": (3,), "widths": (4,), "stem_width": 4, "expansion": 1}
    spec = ResNetSpec(name="flat", activation="relu", se_ratio=2, **sizes)
    factors = np.float32([[0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 1, 3]])
    scales = np.random.default_rng(1).uniform(size=(4, 4)).astype(np.float32)
    pixels = np.repeat(np.random.default_rng(0).normal(size=(1, 32, 32, 3)), 4, axis=0).astype(np.float32)

    def outputs(**options):
        with tf.Graph().as_default(), tf1.Session() as session:
            tensors = {name: tf.constant(value) for name, value in options.items()}
            endpoints = resnet(tf.constant(pixels), spec, 3, LayerOptions(seed=1, **tensors))
            session.run(tf1.global_variables_initializer())
            return session.run([endpoints, tf1.trainable_variables()[-2]])

    usual, kernel = outputs()
    found, _ = outputs(branch_factors=factors, feature_factors=scales)
    np.testing.assert_array_equal(found["stage_0"][0], found["stem"][0])  # the pooled stem is positive
    np.testing.assert_allclose(found["stage_0"][1], usual["stage_0"][1], rtol=1e-5)
    for row in (0, 2, 3):  # a column of the factors is a block's
        assert np.abs(found["stage_0"][row] - usual["stage_0"][row]).max() > 0.01
    np.testing.assert_allclose(found["logits"], (found["features"] * scales) @ kernel, rtol=1e-4, atol=1e-6)
