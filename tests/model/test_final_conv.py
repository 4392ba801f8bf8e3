"""The classifier as a 1x1 convolution computes the same numbers, in training and inference and in both layouts."""

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import RESNETS
from tests.runtime.runs import TINY

tf1 = tf.compat.v1
IMAGES = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)


def build(spec, final_conv, **options):
    """Returns logits, probabilities, and gradients and values by name, for the initial weights of a seed."""
    with tf.Graph().as_default(), tf1.Session() as session:
        endpoints = resnet(tf.constant(IMAGES), spec, 5, LayerOptions(seed=4, **options), final_conv=final_conv)
        trainable = tf1.trainable_variables()
        gradients = tf.gradients(tf.reduce_sum(tf.square(endpoints["logits"] - 1.0)), trainable)
        session.run(tf1.global_variables_initializer())
        numbers = session.run([endpoints["logits"], endpoints["probabilities"], gradients, trainable])
        return numbers, [v.op.name for v in trainable]


@pytest.mark.parametrize("arch", TINY)
@pytest.mark.parametrize("options", [{"training": True}, {}, {"data_format": "NCHW"}], ids=str)
def test_logits_and_gradients_are_those_of_the_matrix(arch, options):
    (logits, probabilities, gradients, values), names = build(TINY[arch], False, **options)
    (ours, our_probabilities, our_gradients, our_values), our_names = build(TINY[arch], True, **options)
    assert ours.shape == (2, 5)
    np.testing.assert_allclose(ours, logits, atol=1e-5)
    np.testing.assert_allclose(our_probabilities, probabilities, atol=1e-5)
    assert our_names == names
    kernel = names.index(f"{arch}/output/dense/kernel")
    assert our_values[kernel].shape == (1, 1, *values[kernel].shape)
    for name, ours, theirs in zip(names, our_gradients, gradients, strict=True):
        np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_the_names_are_the_familiar_ones_with_one_other_shape():
    shapes = []
    for final_conv in (False, True):
        with tf.Graph().as_default():
            images = tf1.placeholder(tf.float32, [None, 64, 64, 3])
            resnet(images, RESNETS["resnet50"], 1001, LayerOptions(), final_conv=final_conv)
            shapes.append({v.op.name: v.shape.as_list() for v in tf1.global_variables()})
    assert {name for name, shape in shapes[1].items() if shapes[0][name] != shape} == {"resnet50/output/dense/kernel"}
    assert shapes[1]["resnet50/output/dense/kernel"] == [1, 1, 2048, 1001]
    assert list(shapes[0]) == list(shapes[1])
