"""The networks against golden counts and a golden list of names."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import BASIC_NAMES, RESNETS, ResNetSpec
from model.variables import classifier_variables

tf1 = tf.compat.v1

TINY = ResNetSpec(name="tiny", blocks=(1, 2), widths=(8, 16), expansion=2, cardinality=4, se_ratio=4, stem_width=8)
BASIC = ResNetSpec(
    name="tiny", block="basic", blocks=(1, 2), widths=(8, 16), expansion=1, se_ratio=4, stem_width=8, names=BASIC_NAMES
)
# The tables cover the parameters of all networks; the graphs of the deepest ones take seconds to build.
BY_DEPTH = [pytest.param(name, marks=[pytest.mark.slow] * (sum(RESNETS[name].blocks) > 16)) for name in RESNETS]


@pytest.mark.parametrize("name", BY_DEPTH)
def test_a_graph_has_the_variables_of_the_table_and_updates_every_moving_statistic(name):
    with tf.Graph().as_default():
        images = tf1.placeholder(tf.float32, [None, 224, 224, 3])
        endpoints = resnet(images, RESNETS[name], 1001, LayerOptions(training=True))
        shapes = {v.op.name: tuple(v.shape.as_list()) for v in tf1.global_variables()}
        assert list(shapes.items()) == list(classifier_variables(RESNETS[name], 1001).items())
        moving = {variable for variable in shapes if "/moving_" in variable}
        assert {v.op.name for v in tf1.trainable_variables()} == shapes.keys() - moving
        assert len(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)) == len(moving)
        assert endpoints["probabilities"].name == f"{name}/output/softmax:0"
        assert endpoints["stage_3"].shape.as_list() == [None, 7, 7, RESNETS[name].features]
        assert endpoints["stem"].shape.as_list() == [None, 56, 56, 64]


@pytest.mark.parametrize(
    "change", [{"names": TINY.names}, {"cardinality": 2}, {"expansion": 2}, {"block": "bottleneck", "expansion": 4}]
)
def test_a_row_that_contradicts_its_block_is_refused(change):
    with pytest.raises(ValueError, match=r"^tiny: a (basic|bottleneck) block has "):
        replace(BASIC, **change)


def build(options, images, spec=TINY):
    """Returns logits and gradients of a tiny network with seeded weights."""
    with tf.Graph().as_default():
        endpoints = resnet(tf.constant(images), spec, 5, options)
        loss = tf.reduce_sum(endpoints["logits"] * tf.constant(np.arange(10.0).reshape(2, 5), tf.float32))
        trainable = tf1.trainable_variables()
        gradients = tf.gradients(loss, trainable)
        missing = [v.op.name for v, g in zip(trainable, gradients, strict=True) if g is None]
        assert not missing, "variables without a gradient"
        with tf1.Session() as session:
            session.run(tf1.global_variables_initializer())
            logits, values = session.run([endpoints["logits"], gradients])
    return logits, {v.op.name: g for v, g in zip(trainable, values, strict=True)}


IMAGES = np.random.default_rng(0).normal(size=(2, 33, 31, 3)).astype(np.float32)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("spec", "change"),
    [(TINY, {"data_format": "NCHW"}), (TINY, {"grouped_convolution": "split"}), (BASIC, {"data_format": "NCHW"})],
)
def test_layout_and_kind_of_grouped_convolution_change_no_number(training, spec, change):
    logits, gradients = build(LayerOptions(training=training), IMAGES, spec)
    other_logits, other_gradients = build(LayerOptions(training=training, **change), IMAGES, spec)
    np.testing.assert_allclose(other_logits, logits, rtol=2e-4, atol=2e-5)
    for name, gradient in gradients.items():
        scale = np.abs(gradient).max() + 1e-6
        np.testing.assert_allclose(other_gradients[name] / scale, gradient / scale, atol=2e-3, err_msg=name)


@pytest.mark.parametrize("spec", [TINY, BASIC])
def test_every_variable_gets_a_gradient_that_is_not_zero(spec):
    _, gradients = build(LayerOptions(training=True), IMAGES, spec)
    zero = [name for name, gradient in gradients.items() if not np.abs(gradient).max() > 0]
    assert not zero


def test_another_seed_gives_other_weights_and_the_same_seed_the_same():
    first, _ = build(LayerOptions(seed=1), IMAGES)
    again, _ = build(LayerOptions(seed=1), IMAGES)
    other, _ = build(LayerOptions(seed=2), IMAGES)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_bfloat16_computes_near_float32_and_returns_float32():
    options = LayerOptions(training=True, grouped_convolution="split")  # CPUs without bfloat16 have none in groups
    exact, _ = build(options, IMAGES)
    rounded, _ = build(replace(options, compute_dtype=tf.bfloat16), IMAGES)
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.1 * np.abs(exact).max()


@pytest.mark.parametrize("size", [1, 32, 65])
def test_any_size_survives_the_strides(size):
    with tf.Graph().as_default(), tf1.Session() as session:
        logits = resnet(tf.ones([1, size, size, 3]), TINY, 3, LayerOptions())["logits"]
        session.run(tf1.global_variables_initializer())
        assert session.run(logits).shape == (1, 3)
