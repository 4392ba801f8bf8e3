"""The classification task: losses against NumPy, graphs, and the description of its weights."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from runtime.classification.task import classification_task
from tests.runtime.runs import TINY, tiny_networks
from tests.runtime.tiny_classifier import SIZE, batch, config, softmax_cross_entropy, task
from tests.utils.input_records import run_graph
from utils.config import ModelConfig
from utils.input.batching import STATUS_BAD_LABEL, STATUS_OK, STATUS_PADDING, STATUS_UNDECODABLE

# Losses


def test_the_loss_is_the_mean_cross_entropy_with_soft_targets():
    logits = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    targets = np.array([[0.8, 0.1, 0.1], [0.5, 0.5, 0], [0, 0, 1], [0.2, 0.2, 0.6]], np.float32)
    found = run_graph(
        lambda: task().training.losses(
            {"logits": tf.constant(logits)}, {"probabilities": tf.constant(targets)}, tf.constant([1.0] * 4)
        )
    )
    assert set(found) == {"cross_entropy"}
    assert found["cross_entropy"] == pytest.approx(softmax_cross_entropy(logits, targets).mean(), rel=1e-5)


@pytest.mark.parametrize("mask", [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
def test_only_rows_that_count_weigh_in_the_loss_and_its_gradient(mask):
    logits = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]

    def build():
        tensor = tf.constant(logits)
        soft = {"probabilities": tf.constant(targets)}
        loss = task().training.losses({"logits": tensor}, soft, tf.constant(mask, tf.float32))
        return loss["cross_entropy"], tf.gradients(loss["cross_entropy"], tensor)[0]

    loss, gradient = run_graph(build)
    count = max(sum(mask), 1)
    assert loss == pytest.approx((softmax_cross_entropy(logits, targets) * mask).sum() / count, rel=1e-5)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = (probabilities - targets) * np.array(mask)[:, None] / count
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_weight_decay_is_half_the_squared_norm_of_kernels_and_biases():
    def build():
        one = tf.compat.v1.get_variable("resnet50/output/dense/kernel", initializer=tf.constant([3.0, 4.0]))
        two = tf.compat.v1.get_variable("resnet50/output/dense/bias", initializer=tf.constant([2.0]))
        norm = tf.compat.v1.get_variable("resnet50/conv2d/BatchNorm/gamma", initializer=tf.constant([100.0]))
        loss = task(weight_decay=0.01).training.weight_decay([one, two, norm]).loss()
        with tf.control_dependencies([v.initializer for v in (one, two, norm)]):
            return tf.constant(0), loss

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        _, loss = build()
        session.run(tf.compat.v1.global_variables_initializer())
        assert session.run(loss) == pytest.approx(0.01 * (25 + 4) / 2)


# Graph


def test_predictions_have_their_public_names_and_the_first_of_equals_wins():
    def build():
        logits = tf.constant([[0.0, 2.0, 2.0], [5.0, 0.0, 1.0]])
        return task().post_processing.predictions({"logits": logits, "probabilities": tf.nn.softmax(logits)})

    found = run_graph(build)
    assert set(found) == {"classes", "probabilities"}
    np.testing.assert_array_equal(found["classes"], [1, 0])
    assert found["classes"].dtype == np.int32


def test_the_network_is_built_with_the_spec_and_the_layers_of_the_task():
    layers = LayerOptions(data_format="NCHW", seed=9)
    with tiny_networks(), tf.Graph().as_default():
        network = classification_task(config(), {}, 5, layers).network
        endpoints = network.forward(tf.zeros([2, SIZE, SIZE, 3]), training=True)
        assert endpoints["logits"].shape == [2, 3]
        assert endpoints["stem"].shape[1] == TINY["resnet50"].stem_width  # NCHW
        assert tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)
    with tiny_networks(), tf.Graph().as_default():
        network.forward(tf.zeros([2, SIZE, SIZE, 3]), training=False)
        assert not tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)


def test_evaluation_takes_plain_labels_and_logits():
    endpoints, targets = {"logits": "logits", "features": "f"}, {"labels": "labels"}
    assert task().post_processing.outputs(endpoints, targets) == {"logits": "logits", "labels": "labels"}


def test_the_weights_metadata_says_what_is_needed_to_use_them():
    assert task().metadata == {
        "network": {"epsilon": None, "padding": None, "strided": None},
        "use_final_conv": False,
        "task": "classification",
        "architecture": "resnet50",
        "quantization": None,
        "num_classes": 3,
        "class_names": ["class 0", "class 1", "class 2"],
        "data_class_names": None,
        "label_offset": 1,
        "image_size": 8,
        "preprocessing": {
            "mean_rgb": [123.68, 116.28, 103.53],
            "std_rgb": [58.395, 57.12, 57.385],
            "range": [0, 255],
        },
    }


def test_a_configuration_that_was_not_resolved_is_refused():
    unresolved = dataclasses.replace(config(), model=ModelConfig())
    with pytest.raises(ValueError, match=r"ModelConfig\.architecture is None; must be filled in"):
        classification_task(unresolved, {}, 5, LayerOptions())


def test_padding_is_masked_out_of_training_too():
    mask = run_graph(
        lambda: batch([0, 0, 0, 0], [STATUS_OK, STATUS_PADDING, STATUS_UNDECODABLE, STATUS_BAD_LABEL]).mask
    )
    np.testing.assert_array_equal(mask, [1, 0, 0, 0])
