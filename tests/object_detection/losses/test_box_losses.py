import numpy as np
import pytest
import tensorflow as tf

from object_detection.losses.box_losses import LOSSES_OF_BOXES, huber_loss
from tests.object_detection.evaluate import evaluate, floats, slope

BOX = (0.0, 0.0, 2.0, 2.0)


def loss_of(kind, box, target):
    return evaluate(lambda: LOSSES_OF_BOXES[kind](floats(box), floats(target)))[0]


@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        ("giou", BOX, 0.0),
        ("diou", BOX, 0.0),
        ("ciou", BOX, 0.0),
        ("giou", (1, 1, 3, 3), 1 - 1 / 7 + 2 / 9),  # shares 1 of 7, in a hull of 9
        ("diou", (1, 1, 3, 3), 1 - 1 / 7 + 2 / 18),  # centers (1, 1) apart, diagonal (3, 3)
        ("ciou", (1, 1, 3, 3), 1 - 1 / 7 + 2 / 18),  # of one shape
        ("giou", (0, 3, 2, 5), 1 + 2 / 10),  # apart: a fifth of the hull is between them
        ("diou", (0, 3, 2, 5), 1 + 9 / (4 + 25)),
        ("giou", (0.5, 0, 1.5, 2), 0.5),  # inside, so the hull is the union
        ("diou", (0.5, 0, 1.5, 2), 0.5),
    ],
)
def test_by_hand(kind, target, expected):
    assert loss_of(kind, BOX, target) == pytest.approx(expected, abs=1e-6)


def test_another_shape_costs_in_ciou_alone():
    difference = 4 / np.pi**2 * (np.arctan2(2, 2) - np.arctan2(2, 1)) ** 2
    expected = 0.5 + difference**2 / (0.5 + difference)
    assert loss_of("ciou", BOX, (0.5, 0, 1.5, 2)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_the_gradient_is_the_slope(kind):
    random, step = np.random.default_rng(0), 1e-6
    corners = random.uniform(0, 1, [2, 40, 2])
    boxes, targets = np.concatenate([corners, corners + random.uniform(0.1, 1, corners.shape)], axis=2)
    loss = LOSSES_OF_BOXES[kind]

    def build():
        inputs = tf.constant(boxes)
        gradient = tf.gradients(loss(inputs, tf.constant(targets)), inputs)[0]
        shifts = np.eye(4)[:, np.newaxis] * step
        ends = [loss(inputs + sign * shifts, tf.constant(targets)[tf.newaxis]) for sign in (1, -1)]
        return gradient, (ends[0] - ends[1]) / (2 * step)

    gradient, slope = evaluate(build)
    if kind == "ciou":  # its weight is a constant of the gradient
        assert np.abs(gradient - slope.T).max() < 0.3
        return
    np.testing.assert_allclose(gradient, slope.T, atol=1e-6)


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_boxes_of_almost_no_area_have_a_finite_loss_and_gradient(kind):
    tiny = (0.5, 0.5, 0.5 + 1e-7, 0.5 + 1e-7)

    def build():
        inputs = floats(tiny, BOX)
        losses = LOSSES_OF_BOXES[kind](inputs, floats(tiny, tiny))
        return losses, tf.gradients(losses, inputs)[0]

    assert all(np.isfinite(values).all() for values in evaluate(build))


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


@pytest.mark.parametrize("delta", [0.5, 1.0])
def test_the_gradient_of_the_huber_loss_is_its_slope(delta):
    values = np.linspace(-3, 3, 26)[:, np.newaxis]
    target = tf.float64.as_numpy_dtype(0.1)
    expected, gradient = slope(lambda codes: huber_loss(codes, target, delta=delta)[:, tf.newaxis], values)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)
    assert np.abs(gradient).max() == pytest.approx(delta)
