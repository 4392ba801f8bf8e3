import numpy as np
import pytest
import tensorflow as tf

from object_detection.losses import focal_loss, huber_loss
from tests.object_detection.evaluate import evaluate, floats


@pytest.mark.parametrize(
    ("logit", "target", "expected"),
    [
        (-4.6, 0, 7.429147e-7),
        (-4.6, 1, 1.129676),
        (0.0, 0, 0.1299651),
        (0.0, 1, 0.0433217),
        (2.0, 0, 1.237559),
        (2.0, 1, 4.508906e-4),
        (-2.0, 0, 1.352672e-3),
        (-2.0, 1, 0.4125196),
        (8.0, 1, 9.429115e-12),
        (-8.0, 0, 2.828735e-11),
    ],
)
def test_focal_loss_by_hand(logit, target, expected):
    found = evaluate(lambda: focal_loss(floats(logit), floats(target)))
    np.testing.assert_allclose(found, [expected], rtol=2e-3 if abs(logit) == 8 else 1e-5)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(1.0, 8 * np.log(2)), (0.75, np.log(2) * (0.75 * 8 + 0.25 * 16)), (0.5, 12 * np.log(2)), (None, 24 * np.log(2))],
)
def test_without_the_modulating_factor_alpha_weighs_the_entropy(alpha, expected):
    targets = np.eye(3)[np.arange(8) % 3]
    found = evaluate(lambda: tf.reduce_sum(focal_loss(tf.zeros([8, 3]), floats(*targets), alpha=alpha, gamma=0.0)))
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_surer_the_smaller_the_share_of_the_entropy_that_is_left():
    probability, target = np.array([0.97, 0.91, 0.73, 0.27, 0.09, 0.03]), np.array([1.0, 1, 1, 0, 0, 0])
    logits = np.log(probability / (1 - probability))
    found = evaluate(lambda: focal_loss(floats(*logits), floats(*target), alpha=None))
    entropy = -np.log(np.where(target == 1, probability, 1 - probability))
    assert np.round(np.log10(entropy / found)).tolist() == [3, 2, 1, 1, 2, 3]


@pytest.mark.parametrize("gamma", [1.5, 2.0])
def test_the_gradient_of_the_focal_loss_is_its_slope(gamma):
    logits, target, step = np.linspace(-3, 3, 8), np.arange(8) % 2, 1e-5

    def build():
        inputs = tf.constant(logits)
        targets = tf.constant(target, tf.float64)
        losses = [focal_loss(inputs + shift, targets, gamma=gamma) for shift in (-step, step)]
        return tf.gradients(focal_loss(inputs, targets, gamma=gamma), inputs)[0], losses

    gradient, (below, above) = evaluate(build)
    np.testing.assert_allclose(gradient, (above - below) / (2 * step), rtol=1e-6, atol=1e-9)


def test_huber_loss_by_hand():
    found = evaluate(lambda: huber_loss(floats((0.5, -1, 1.5, 3), (0, 0.2, -0.2, 2)), tf.zeros([2, 4])))
    np.testing.assert_allclose(found, [4.125, 1.54], rtol=1e-6)


def test_huber_loss_of_a_weighted_batch():
    codes = [
        [(2.5, 0, 0.4, 0), (0, 0, 0, 0), (0, 2.5, 0, 0.4)],
        [(3.5, 0, 0, 0), (0, 0.4, 0, 0.9), (0, 0, 1.5, 0)],
    ]
    weights = np.array([[2, 1, 1], [0, 3, 0]])
    found = evaluate(lambda: huber_loss(floats(*codes), tf.zeros([2, 3, 4])))
    assert (found * weights).sum() == pytest.approx(7.695, rel=1e-6)
