"""Losses of classifiers against second implementations in NumPy and finite differences."""

import numpy as np
import pytest
import tensorflow as tf

from runtime.classification.losses import focal_loss
from tests.runtime.tiny_classifier import batch, softmax_cross_entropy, task
from tests.utils.input_records import run_graph

LOGITS = np.random.default_rng(2).normal(scale=3, size=(5, 4))
TARGETS = np.random.default_rng(3).dirichlet(np.ones(4), size=5)
WEIGHTS = (0.5, 2.0, 0.75)


def focal(logits, targets, gamma):
    """A second implementation: [N] in float64."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -(targets * (1 - p) ** gamma * np.log(p)).sum(axis=1)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_and_its_gradient_are_those_of_its_formula(gamma):
    def build():
        logits = tf.constant(LOGITS)
        loss = focal_loss(logits, tf.constant(TARGETS), gamma)
        return loss, tf.gradients(tf.reduce_sum(loss), logits)[0]

    loss, gradient = run_graph(build)
    np.testing.assert_allclose(loss, focal(LOGITS, TARGETS, gamma), rtol=1e-9)
    step, differences = 1e-6, np.zeros_like(LOGITS)
    for place in np.ndindex(*LOGITS.shape):
        moved = np.zeros_like(LOGITS)
        moved[place] = step
        above, below = (focal(LOGITS + side * moved, TARGETS, gamma).sum() for side in (1, -1))
        differences[place] = (above - below) / (2 * step)
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-8)
    if gamma == 0:
        np.testing.assert_allclose(loss, softmax_cross_entropy(LOGITS, TARGETS), rtol=1e-9)


def test_focal_loss_of_a_network_that_is_sure_stays_finite():
    def build():
        logits = tf.constant([[200.0, -200.0], [-200.0, 200.0]])
        loss = focal_loss(logits, tf.constant([[1.0, 0.0], [1.0, 0.0]]), 0.5)
        return loss, tf.gradients(tf.reduce_sum(loss), logits)[0]

    loss, gradient = run_graph(build)
    np.testing.assert_allclose(loss, [0, 400], atol=1e-3)
    assert np.isfinite(gradient).all()


def test_a_training_step_sees_the_focal_loss_with_its_gamma():
    def build():
        training = task(num_classes=4, loss="focal", focal_gamma=3.0).training
        assert training.chance is None
        targets = {"probabilities": tf.constant(TARGETS, tf.float32)}
        return training.losses({"logits": tf.constant(LOGITS, tf.float32)}, targets, tf.ones([5]))

    assert run_graph(build) == {"focal_loss": pytest.approx(focal(LOGITS, TARGETS, 3.0).mean(), rel=1e-5)}


@pytest.mark.parametrize("loss", ["softmax", "bce", "focal"])
@pytest.mark.parametrize("mixing", [{}, {"label_smoothing": 0.3, "mixup_alpha": 0.5}, {"cutmix_alpha": 1.0}])
def test_images_count_as_their_classes_weigh_and_mixed_ones_by_their_shares(loss, mixing):
    logits = np.random.default_rng(4).normal(size=(4, 3)).astype(np.float32)

    def build():
        found = []
        for weights in (None, WEIGHTS):
            training = task(loss=loss, class_weights="balanced", weight_of_class=weights, **mixing).training
            if weights:
                assert training.chance is None
            read = batch([0, 1, 2, 0])
            _, targets = training.prepare(read.images, read, tf.constant(3, tf.int64))
            rows = [training.losses({"logits": tf.constant(logits)}, targets, tf.one_hot(row, 4)) for row in range(4)]
            found.append((targets, [one for losses in rows for one in losses.values()]))
        return found

    (plain, losses), (targets, weighted) = run_graph(build)
    labels = targets["probabilities"]
    np.testing.assert_array_equal(labels, plain["probabilities"])
    spread = mixing.get("label_smoothing", 0.0)
    share = (labels - spread / 3) / (1 - spread)  # of each class in the mixed image
    np.testing.assert_allclose(targets["weights"], share @ np.array(WEIGHTS), rtol=1e-5)
    np.testing.assert_allclose(weighted, np.array(losses) * targets["weights"], rtol=1e-5)
    assert set(targets["weights"].tolist()) <= set(WEIGHTS) or mixing
