"""SSD320's network with a handful of channels: layouts, gradients, slots, frozen statistics and its first values."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.ssd import ssd
from tests.model.tiny_ssd import BACKBONE, PREDICTOR, STATISTICS, TINY_SSD, load_by_name

tf1 = tf.compat.v1

SLOTS = 7
IMAGES = np.random.default_rng(0).normal(0, 60, (3, 64, 64, 3)).astype(np.float32)


class Built(NamedTuple):
    """Values of the small network, by name."""

    endpoints: dict
    variables: dict
    gradients: dict
    updates: list


def build(options, *, used=None, differentiated=True, load=load_by_name):
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        endpoints = ssd(tf.constant(IMAGES), TINY_SSD, 6, SLOTS, options, used_slots=used)
        weights = tf.random.stateless_normal(tf.shape(endpoints["box_codes"]), [1, 2])
        loss = tf.reduce_sum(endpoints["box_codes"] * weights) + tf.reduce_sum(tf.square(endpoints["class_logits"]))
        trainable = tf1.trainable_variables() if differentiated else []
        gradients = {v.op.name: g for v, g in zip(trainable, tf.gradients(loss, trainable), strict=True)}
        assert not [name for name, gradient in gradients.items() if gradient is None]
        load(tf1.global_variables(), session)
        variables = {v.op.name: v for v in tf1.global_variables()}
        return Built(*session.run([endpoints, variables, gradients]), graph.get_collection(tf1.GraphKeys.UPDATE_OPS))


def initialize(variables, session):
    session.run([v.initializer for v in variables])


@pytest.fixture(scope="module")
def inferred():
    return build(LayerOptions())


@pytest.fixture(scope="module")
def trained():
    return build(LayerOptions(training=True))


def assert_alike(found, expected, share):
    """Asserts equality up to a share of the largest value."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=share * np.abs(value).max() + 1e-6, err_msg=name)


def heads(built):
    return {name: built.endpoints[name] for name in ("box_codes", "class_logits")}


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_layout_changes_no_number(request, training):
    ours = request.getfixturevalue("trained" if training else "inferred")
    other = build(LayerOptions(training=training, data_format="NCHW"))
    assert other.endpoints["level_4"].shape == (3, 8, 4, 4)
    assert_alike(heads(other), heads(ours), 1e-4)
    # The last levels have few pixels per batch, so gradients through their normalization are sensitive to rounding.
    assert_alike(other.gradients, ours.gradients, 1e-2 if training else 1e-3)


def test_every_variable_gets_a_gradient_that_is_not_zero(trained):
    zero = [name for name, gradient in trained.gradients.items() if not np.abs(gradient).max() > 0]
    assert not zero


def test_logits_of_used_slots_are_those_of_all_slots(inferred):
    used = (1, 3, 6)
    found = build(LayerOptions(), used=used, differentiated=False)
    assert found.variables.keys() == inferred.variables.keys()
    expected = inferred.endpoints["class_logits"][..., used]
    np.testing.assert_allclose(found.endpoints["class_logits"], expected, atol=1e-4)
    np.testing.assert_allclose(found.endpoints["box_codes"], inferred.endpoints["box_codes"], atol=1e-4)


@pytest.mark.slow
def test_frozen_statistics_are_used_and_left_alone_and_all_else_is_trained(inferred, trained):
    frozen = build(LayerOptions(training=True, freeze_batch_norm=True))
    assert not frozen.updates
    assert len(trained.updates) == 2 * sum(name.endswith("/gamma") for name in frozen.gradients)
    assert_alike(heads(frozen), heads(inferred), 1e-4)
    assert np.abs(frozen.endpoints["box_codes"] - trained.endpoints["box_codes"]).max() > 0.1
    assert frozen.gradients.keys() == trained.gradients.keys()
    assert not [name for name, gradient in frozen.gradients.items() if not np.abs(gradient).max() > 0]


def test_the_fifth_level_is_its_projection_and_nothing_else(inferred):
    endpoints, variables = inferred.endpoints, inferred.variables
    scope = f"{BACKBONE}/fpn/projection_3"
    expected = endpoints["stage_3"] @ variables[f"{scope}/weights"][0, 0] + variables[f"{scope}/biases"]
    np.testing.assert_allclose(endpoints["level_5"], expected, atol=1e-4 * np.abs(expected).max())
    assert expected.min() < 0
    assert min(endpoints[f"level_{level}"].min() for level in (3, 4, 6, 7)) == 0


def test_anchors_of_a_cell_stand_together_and_the_smallest_level_comes_last(inferred):
    endpoints, variables = inferred.endpoints, inferred.variables
    count = 6 * (8 * 8 + 4 * 4 + 2 * 2 + 1 + 1)
    assert endpoints["box_codes"].shape == (3, count, 4)
    assert endpoints["class_logits"].shape == (3, count, SLOTS)
    tower = f"{PREDICTOR}/ClassPredictionTower/conv2d_0"
    outputs = endpoints["level_7"][:, 0, 0] @ variables[f"{tower}/weights"][1, 1]  # one pixel: only the center counts
    gamma, beta, mean, variance = (variables[f"{tower}/BatchNorm/feature_4/{kind}"] for kind in STATISTICS)
    outputs = np.clip((outputs - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0, 6)
    head = f"{PREDICTOR}/ClassPredictor"
    logits = outputs @ variables[f"{head}/weights"][1, 1] + variables[f"{head}/biases"]
    np.testing.assert_allclose(endpoints["class_logits"][:, -6:], logits.reshape(3, 6, SLOTS), rtol=1e-3, atol=1e-3)


def test_a_new_network_takes_everything_for_background():
    new = build(LayerOptions(), differentiated=False, load=initialize)
    scores = 1 / (1 + np.exp(-new.endpoints["class_logits"].astype(np.float64)))
    assert scores.mean() == pytest.approx(1 / (1 + np.exp(4.6)), rel=0.05)
    kernel = new.variables[f"{PREDICTOR}/ClassPredictor/weights"]
    assert kernel.std() == pytest.approx(0.01, rel=0.1)
    assert np.abs(kernel).max() > 0.025  # not truncated
    assert np.abs(new.variables[f"{BACKBONE}/block4/unit_1/bottleneck_v1/conv3/weights"]).max() <= 0.06


def test_bfloat16_computes_near_float32_and_returns_float32(inferred):
    rounded = heads(build(LayerOptions(compute_dtype=tf.bfloat16), differentiated=False))
    for name, exact in heads(inferred).items():
        assert rounded[name].dtype == np.float32
        assert 0 < np.abs(rounded[name] - exact).max() < 0.1 * np.abs(exact).max()


@pytest.mark.parametrize(("height", "width"), [(320, 310), (72, 64)])
def test_sides_that_do_not_halve_five_times_are_refused(height, width):
    message = f"images of {height} x {width} pixels: sides must be multiples of 32"
    with tf.Graph().as_default(), pytest.raises(ValueError, match=message):
        ssd(tf.zeros([1, height, width, 3]), TINY_SSD, 6, SLOTS, LayerOptions())


def test_the_heads_of_another_number_of_slots_differ_alone():
    with tf.Graph().as_default():
        ssd(tf1.placeholder(tf.float32, [None, 64, 64, 3]), TINY_SSD, 6, 4, LayerOptions())
        shapes = {v.op.name: v.shape.as_list() for v in tf1.global_variables()}
    assert shapes[f"{PREDICTOR}/ClassPredictor/weights"] == [3, 3, 8, 24]
    assert shapes[f"{PREDICTOR}/BoxPredictor/weights"] == [3, 3, 8, 24]
