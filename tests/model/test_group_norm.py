"""Group normalization against the paper in NumPy, and in the pyramid and the heads of a detector."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from model.checkpoint_names import describe, variables_of
from model.layers.group_norm import EPSILON, group_norm, groups_of
from model.layers.options import LayerOptions
from model.ssd import ssd
from model.variables import detector_variables
from tests.model.tiny_ssd import TINY_SSD, load, load_by_name

tf1 = tf.compat.v1
GROUPED = replace(TINY_SSD, norm="group")


def oracle(values, gamma, beta, groups):
    """[N, H, W, C] normalized as in the paper's figure 3."""
    count, height, width, channels = values.shape
    grouped = values.astype(np.float64).reshape(count, height, width, groups, channels // groups)
    mean = grouped.mean(axis=(1, 2, 4), keepdims=True)
    variance = grouped.var(axis=(1, 2, 4), keepdims=True)
    return ((grouped - mean) / np.sqrt(variance + EPSILON)).reshape(values.shape) * gamma + beta


def test_channels_form_at_most_32_equal_groups():
    assert {channels: groups_of(channels) for channels in (256, 48, 33, 31, 8, 1, 74)} == {
        **{256: 32, 48: 24, 33: 11, 31: 31},
        **{8: 8, 1: 1, 74: 2},
    }


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("channels", [6, 66])
def test_each_image_is_normalized_by_its_own_groups(channels, data_format):
    rng = np.random.default_rng(channels)
    values = rng.normal(3, 5, (2, 4, 3, channels)).astype(np.float32)
    gamma, beta = rng.normal(1, 0.3, channels).astype(np.float32), rng.normal(0, 1, channels).astype(np.float32)
    order = (0, 1, 2, 3) if data_format == "NHWC" else (0, 3, 1, 2)
    with tf.Graph().as_default(), tf1.Session() as session:
        outputs = group_norm(tf.constant(values.transpose(order)), LayerOptions(data_format=data_format))
        variables = {v.op.name: v for v in tf1.global_variables()}
        load(session, {variables["GroupNorm/gamma"]: gamma, variables["GroupNorm/beta"]: beta})
        found = session.run(outputs)
    expected = oracle(values, gamma, beta, {6: 6, 66: 22}[channels])
    np.testing.assert_allclose(found, expected.transpose(order), atol=1e-4)


def test_half_precision_has_float32_statistics():
    with tf.Graph().as_default(), tf1.Session() as session:
        numbers = np.random.default_rng(0).normal(0, 300, (1, 8, 8, 64)).astype(np.float32)
        outputs = group_norm(tf.cast(tf.constant(numbers), tf.bfloat16), LayerOptions(compute_dtype=tf.bfloat16))
        session.run(tf1.global_variables_initializer())
        assert outputs.dtype == tf.bfloat16
        found = session.run(tf.cast(outputs, tf.float32))
    np.testing.assert_allclose(found, oracle(numbers, 1, 0, 32), atol=0.05)


@pytest.fixture(scope="module")
def grouped():
    """Shapes of variables, names of updates, and gradients of the small detector in training.

    At 256 pixels the coarsest level has four cells; of one cell, a group of one channel would be its own mean.
    """
    images = np.random.default_rng(0).normal(0, 60, (2, 256, 256, 3)).astype(np.float32)
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        endpoints = ssd(tf.constant(images), GROUPED, 6, 5, LayerOptions(training=True))
        variables, trainable = tf1.global_variables(), tf1.trainable_variables()
        weights = tf.random.stateless_normal(tf.shape(endpoints["box_codes"]), [1, 2])
        loss = tf.reduce_sum(endpoints["box_codes"] * weights) + tf.reduce_sum(tf.square(endpoints["class_logits"]))
        gradients = dict(zip([v.op.name for v in trainable], tf.gradients(loss, trainable), strict=True))
        load_by_name(variables, session)
        updates = [target.op.name for target, _, _ in graph.get_collection(tf1.GraphKeys.UPDATE_OPS)]
        shapes = {v.op.name: tuple(v.shape.as_list()) for v in variables}
        return shapes, updates, session.run(gradients)


def test_pyramid_and_heads_have_gamma_and_beta_that_all_levels_share(grouped):
    shapes, updates, _ = grouped
    assert shapes == detector_variables(GROUPED, 6, 5)
    above = {name for name in shapes if "/fpn/" in name or "Predictor" in name}
    assert not [name for name in above if "BatchNorm" in name]
    assert "WeightSharedConvolutionalBoxPredictor/BoxPredictionTower/conv2d_0/GroupNorm/gamma" in above
    assert [name for name in shapes.keys() - above if "BatchNorm" in name]
    assert not [name for name in shapes.keys() - above if "GroupNorm" in name]
    assert updates
    assert not [name for name in updates if "fpn" in name or "Predictor" in name], "no moving statistics"


def test_every_variable_gets_a_gradient(grouped):
    _, _, gradients = grouped
    assert not [name for name, gradient in gradients.items() if not np.abs(gradient).max() > 0]


def test_inference_equals_training_above_frozen_statistics():
    images = np.random.default_rng(0).normal(0, 60, (2, 64, 64, 3)).astype(np.float32)
    found = []
    for options in (LayerOptions(), LayerOptions(training=True, freeze_batch_norm=True)):
        with tf.Graph().as_default(), tf1.Session() as session:
            endpoints = ssd(tf.constant(images), GROUPED, 6, 5, options)
            load_by_name(tf1.global_variables(), session)
            found.append(session.run(endpoints["class_logits"]))
    np.testing.assert_allclose(found[0], found[1], atol=2e-4)


def test_without_it_nothing_is_grouped_and_a_description_tells_it():
    shapes = detector_variables(TINY_SSD, 6, 5)
    assert not [name for name in shapes if "GroupNorm" in name]
    published = variables_of("ssd320", 90)
    assert "norm" not in describe(published)
    fpn = {name: name.replace("BatchNorm", "GroupNorm") for name in published if "/fpn/" in name}
    names = {fpn.get(name, name): shape for name, shape in published.items()}
    assert describe(names)["norm"] == "group"
