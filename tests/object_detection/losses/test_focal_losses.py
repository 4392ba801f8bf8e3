import numpy as np
import pytest
import tensorflow as tf

from object_detection.losses.focal_losses import (
    focal_loss,
    focal_loss_of_slots,
    focal_loss_when_off,
    quality_focal_loss,
    quality_focal_loss_of_slots,
)
from tests.object_detection.evaluate import evaluate, floats, slope


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


# At most one class of an anchor on

ANCHORS, CLASSES = 40, 5
LABELS = np.random.default_rng(1).integers(-1, CLASSES, (2, ANCHORS)).astype(np.int32)
WEIGHTS = np.random.default_rng(2).choice([0, 0.5, 1], (2, ANCHORS))
LOGITS = np.random.default_rng(3).normal(-1, 3, (2, ANCHORS, CLASSES))
LOGITS[0, :4, 0] = (-40, 40, -90, 90)


@pytest.mark.parametrize("alpha", [0.25, None, 1.0])
@pytest.mark.parametrize("gamma", [1.5, 2.0])
def test_the_loss_of_slots_and_its_gradient_are_those_of_targets_written_out(alpha, gamma):
    one_hot = np.eye(CLASSES + 1)[LABELS][..., :CLASSES]  # -1 is the last row, which is cut off

    def build():
        logits, weights = tf.constant(LOGITS, tf.float32), tf.constant(WEIGHTS, tf.float32)
        loss = focal_loss_of_slots(logits, tf.constant(LABELS), weights, alpha=alpha, gamma=gamma)
        each = focal_loss(logits, tf.constant(one_hot, tf.float32), alpha=alpha, gamma=gamma)
        expected = tf.reduce_sum(each * weights[..., tf.newaxis])
        return loss, tf.gradients(loss, logits)[0], expected, tf.gradients(expected, logits)[0]

    loss, gradient, expected, expected_gradient = evaluate(build)
    assert loss == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5)
    assert np.isfinite(gradient).all()
    assert not gradient[WEIGHTS == 0].any()


def test_anchors_without_a_class_count_as_off_in_all():
    labels = np.full((1, 3), -1, np.int32)
    found = evaluate(lambda: focal_loss_of_slots(tf.zeros([1, 3, 4]), tf.constant(labels), tf.ones([1, 3])))
    assert found == pytest.approx(12 * 0.1299651, rel=1e-5)


@pytest.mark.parametrize("gamma", [1.5, 2.0, 3.0])
def test_the_gradient_of_the_loss_where_all_is_off_is_its_slope(gamma):
    expected, gradient = slope(lambda logits: focal_loss_when_off(logits, gamma), np.linspace(-12, 12, 49))
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("gamma", [1.5, 2.0])
def test_the_gradient_of_the_loss_of_slots_is_the_slope_of_targets_written_out_in_float64(gamma):
    one_hot = np.eye(CLASSES + 1)[LABELS][..., :CLASSES]
    weights = WEIGHTS[..., np.newaxis]
    expected, _ = slope(lambda logits: focal_loss(logits, tf.constant(one_hot), gamma=gamma) * weights, LOGITS)

    def build():
        logits = tf.constant(LOGITS, tf.float32)
        loss = focal_loss_of_slots(logits, tf.constant(LABELS), tf.constant(WEIGHTS, tf.float32), gamma=gamma)
        return tf.gradients(loss, logits)[0]

    np.testing.assert_allclose(evaluate(build), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("logit", "quality", "expected"),
    [(0.0, 0.5, 0.0), (0.0, 1.0, 0.25 * np.log(2)), (2.0, 0.0, 0.8807971**2 * 2.126928)],
)
def test_quality_focal_loss_by_hand(logit, quality, expected):
    found = evaluate(lambda: quality_focal_loss(floats(logit), floats(quality)))
    assert found == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize("beta", [1.5, 2.0])
def test_quality_focal_loss_of_slots_is_the_sum_over_all_classes(beta):
    random = np.random.default_rng(1)
    logits, qualities = random.normal(0, 2, [2, 30, 5]), random.uniform(size=[2, 30])
    labels, weights = random.integers(-1, 5, [2, 30]), random.integers(0, 2, [2, 30])
    targets = np.eye(6)[labels][..., :5] * qualities[..., np.newaxis]

    def build():
        inputs = tf.constant(logits, tf.float32)
        dense = quality_focal_loss(inputs, tf.constant(targets, tf.float32), beta=beta)
        whole = tf.reduce_sum(dense * weights[..., np.newaxis])
        slots = quality_focal_loss_of_slots(
            inputs,
            tf.constant(labels, tf.int32),
            tf.constant(weights, tf.float32),
            tf.constant(qualities, tf.float32),
            beta=beta,
        )
        return whole, slots, *(tf.gradients(loss, inputs)[0] for loss in (whole, slots))

    whole, slots, gradient, gradient_of_slots = evaluate(build)
    assert slots == pytest.approx(whole, rel=1e-5)
    np.testing.assert_allclose(gradient_of_slots, gradient, rtol=1e-3, atol=2e-6)
