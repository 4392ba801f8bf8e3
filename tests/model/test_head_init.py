"""A new classifier gives all classes the same probability, whatever the network, the classes and the images."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import RESNETS, QuantizationSpec, ResNetSpec

tf1 = tf.compat.v1

TINY = ResNetSpec(name="tiny", blocks=(1, 2), widths=(8, 16), expansion=2, cardinality=4, se_ratio=4, stem_width=8)
CLASSES = (2, 10, 100, 1001)
WEIGHT_INITS = ("fan_in", "fan_out")


def relative_loss(spec, num_classes, size, images=4, *, final_conv=False, training=True, **options):
    """The mean cross-entropy of a new network over ln K."""
    with tf.Graph().as_default():
        pixels = np.random.default_rng(0).normal(size=(images, size, size, 3)).astype(np.float32)
        layers = LayerOptions(training=training, seed=1, **options)
        logits = resnet(tf.constant(pixels), spec, num_classes, layers, final_conv=final_conv)["logits"]
        labels = np.arange(images) % num_classes
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        with tf1.Session() as session:
            session.run(tf1.global_variables_initializer())
            return float(session.run(tf.reduce_mean(losses))) / math.log(num_classes)


@pytest.mark.parametrize(
    ("name", "num_classes", "weight_init"),
    [
        pytest.param(
            name,
            num_classes,
            weight_init,
            marks=[pytest.mark.slow] * (sum(RESNETS[name].blocks) > 16),  # graphs that take seconds to build
        )
        for name, (num_classes, weight_init) in zip(
            RESNETS, itertools.cycle(itertools.product(CLASSES, WEIGHT_INITS)), strict=False
        )
    ],
)
def test_every_network_begins_at_ln_k(name, num_classes, weight_init):
    loss = relative_loss(RESNETS[name], num_classes, 32, images=2, weight_init=weight_init, head_init="small")
    assert loss == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("num_classes", CLASSES)
def test_classes_sizes_and_initial_weights_make_no_difference(num_classes):
    for weight_init, size, training in (("fan_in", 8, True), ("fan_out", 33, True), ("fan_out", 8, False)):
        loss = relative_loss(
            TINY, num_classes, size, weight_init=weight_init, head_init="small", training=training, final_conv=size == 8
        )
        assert loss == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("options", [{"qdq": True}, {"symmetric": True}, {"per_channel": True}, {}])
def test_a_quantized_network_begins_there_too(options):
    loss = relative_loss(TINY, 10, 16, head_init="small", quantization=QuantizationSpec(**options))
    assert loss == pytest.approx(1.0, rel=1e-6)


def test_the_original_head_begins_far_above_with_few_classes():
    begins = {way: relative_loss(RESNETS["resnet18"], 10, 32, images=8, weight_init=way) for way in WEIGHT_INITS}
    assert begins["fan_out"] > 3
    assert begins["fan_in"] < 3


def test_the_original_head_has_the_values_that_it_always_had():
    with tf.Graph().as_default(), tf1.Session() as session:
        resnet(tf.zeros([1, 8, 8, 3]), TINY, 3, LayerOptions(seed=7, head_init="original"))
        kernel = next(v for v in tf1.global_variables() if v.op.name == "tiny/output/dense/kernel")
        session.run(tf1.global_variables_initializer())
        values = session.run(kernel)
    assert values[0] == pytest.approx([0.3527171015739441, -0.10068874061107635, 0.24518296122550964], rel=1e-6)


def test_the_first_updates_reach_the_head_and_then_the_rest():
    with tf.Graph().as_default(), tf1.Session() as session:
        images = tf.constant(np.random.default_rng(0).normal(size=(6, 8, 8, 3)), tf.float32)
        logits = resnet(images, TINY, 3, LayerOptions(training=True, head_init="small"))["logits"]
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 1, 2, 0, 1, 1], logits=logits))
        weights = tf1.trainable_variables()
        gradients = [tf.reduce_max(tf.abs(gradient)) for gradient in tf.gradients(loss, weights)]
        step = tf1.train.GradientDescentOptimizer(0.1).minimize(loss)
        session.run(tf1.global_variables_initializer())
        reached = []
        for _ in range(2):
            sizes = session.run(gradients)
            reached.append({v.op.name for v, size in zip(weights, sizes, strict=True) if size > 0})
            session.run(step)
    assert reached[0] == {"tiny/output/dense/kernel", "tiny/output/dense/bias"}
    assert reached[1] == {v.op.name for v in weights}
