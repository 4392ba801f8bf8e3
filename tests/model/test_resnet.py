"""The networks against golden counts and a golden list of names."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import RESNETS, ResNetSpec

tf1 = tf.compat.v1

TINY = ResNetSpec(name="tiny", blocks=(1, 2), widths=(8, 16), expansion=2, cardinality=4, se_ratio=4, stem_width=8)
SHA256 = {
    "resnet50": "e28351e273d49ccfd88dc2567de5a558346d33ace67a7abd5c1a1e5a437d4607",
    "se-resnext101-32x4d": "a3b6d0e04d84d3b801fc30553597c51c2880e6c67d260d4dfd29a39e52f6e8d4",
}
# architecture: variables, trainable variables, trainable parameters, moving statistics, UPDATE_OPS
COUNTS = {
    "resnet50": (267, 161, 25_559_081, 53_120, 106),
    "resnext101-32x4d": (522, 314, 44_179_753, 137_856, 208),
    "se-resnext101-32x4d": (654, 446, 48_957_465, 137_856, 208),
}
PARTS = {
    "resnet50": (9_536, 215_808, 1_219_584, 7_098_368, 14_964_736, 2_051_049),
    "resnext101-32x4d": (9_536, 205_824, 1_197_056, 26_171_392, 14_544_896, 2_051_049),
    "se-resnext101-32x4d": (9_536, 231_216, 1_330_304, 29_211_072, 16_124_288, 2_051_049),
}


def parameters(variables):
    return sum(v.shape.num_elements() for v in variables)


@pytest.mark.parametrize("name", RESNETS)
def test_variables_are_those_of_published_checkpoints(name):
    with tf.Graph().as_default():
        endpoints = resnet(
            tf1.placeholder(tf.float32, [None, 224, 224, 3]), RESNETS[name], 1001, LayerOptions(training=True)
        )
        variables, trainable = tf1.global_variables(), tf1.trainable_variables()
        counts = (
            len(variables),
            len(trainable),
            parameters(trainable),
            parameters(variables) - parameters(trainable),
            len(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)),
        )
        assert counts == COUNTS[name]
        lines = sorted(f"{v.op.name} {'x'.join(map(str, v.shape))}\n".encode() for v in variables)
        if name in SHA256:
            assert hashlib.sha256(b"".join(lines)).hexdigest() == SHA256[name]
        scopes = ["conv2d/", *(f"btlnck_block_{stage}_" for stage in range(4)), "output/"]
        assert (
            tuple(parameters(v for v in trainable if v.op.name.startswith(f"{name}/{s}")) for s in scopes)
            == PARTS[name]
        )
        assert endpoints["probabilities"].name == f"{name}/output/softmax:0"
        assert endpoints["stage_3"].shape.as_list() == [None, 7, 7, 2048]
        assert endpoints["stem"].shape.as_list() == [None, 56, 56, 64]


def test_1000_classes_take_2049_parameters_less():
    with tf.Graph().as_default():
        resnet(tf1.placeholder(tf.float32, [None, 64, 64, 3]), RESNETS["resnet50"], 1000, LayerOptions())
        assert parameters(tf1.trainable_variables()) == 25_557_032


def build(options, images):
    """Logits and gradients of the tiny network, with the weights that a seed gives."""
    with tf.Graph().as_default():
        endpoints = resnet(tf.constant(images), TINY, 5, options)
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
@pytest.mark.parametrize("change", [{"data_format": "NCHW"}, {"grouped_convolution": "split"}])
def test_layout_and_kind_of_grouped_convolution_change_no_number(training, change):
    logits, gradients = build(LayerOptions(training=training), IMAGES)
    other_logits, other_gradients = build(LayerOptions(training=training, **change), IMAGES)
    np.testing.assert_allclose(other_logits, logits, rtol=2e-4, atol=2e-5)
    for name, gradient in gradients.items():
        scale = np.abs(gradient).max() + 1e-6
        np.testing.assert_allclose(other_gradients[name] / scale, gradient / scale, atol=2e-3, err_msg=name)


def test_every_variable_gets_a_gradient_that_is_not_zero():
    _, gradients = build(LayerOptions(training=True), IMAGES)
    zero = [name for name, gradient in gradients.items() if not np.abs(gradient).max() > 0]
    assert not zero


def test_another_seed_gives_other_weights_and_the_same_seed_the_same():
    first, _ = build(LayerOptions(seed=1), IMAGES)
    again, _ = build(LayerOptions(seed=1), IMAGES)
    other, _ = build(LayerOptions(seed=2), IMAGES)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_bfloat16_computes_near_float32_and_returns_float32():
    exact, _ = build(LayerOptions(training=True), IMAGES)
    rounded, _ = build(LayerOptions(training=True, compute_dtype=tf.bfloat16), IMAGES)
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.1 * np.abs(exact).max()


@pytest.mark.parametrize("size", [1, 32, 65])
def test_any_size_survives_the_strides(size):
    with tf.Graph().as_default(), tf1.Session() as session:
        logits = resnet(tf.ones([1, size, size, 3]), TINY, 3, LayerOptions())["logits"]
        session.run(tf1.global_variables_initializer())
        assert session.run(logits).shape == (1, 3)
