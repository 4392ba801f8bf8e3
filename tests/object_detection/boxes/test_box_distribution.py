import numpy as np
import pytest
import tensorflow as tf

from object_detection.boxes.anchors import pyramid_anchors
from object_detection.boxes.box_distribution import (
    boxes_of,
    cell_sides,
    decoded,
    distances_of,
    distribution_focal_loss,
    expected_distances,
)
from tests.object_detection.evaluate import evaluate, floats
from utils.detection_config import AnchorSpec, DetectionConfig, HeadSpec

SPECS = [AnchorSpec(single=True), AnchorSpec()]
RANDOM = np.random.default_rng(6)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("spec", SPECS)
def test_the_cell_of_an_anchor_is_that_of_its_level(spec):
    cells = cell_sides(pyramid_anchors(320, 320, spec), spec)
    counts = [40**2, 20**2, 10**2, 5**2, 3**2]
    expected = np.repeat([8, 16, 32, 64, 128], [count * spec.per_cell for count in counts]) / 320
    np.testing.assert_allclose(cells, np.stack([expected, expected], axis=1), rtol=1e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_distances_are_in_cells_from_the_center_and_give_the_boxes_back(spec):
    anchors = pyramid_anchors(64, 64, spec)
    boxes = RANDOM.uniform(0, 1, [2, len(anchors), 4]).astype(np.float32)
    cells = cell_sides(anchors, spec)

    def build():
        distances = distances_of(tf.constant(boxes), anchors, cells)
        detection = DetectionConfig(anchors=spec, heads=HeadSpec(distribution=True))
        return distances, boxes_of(distances, anchors, cells), decoded(distances, anchors, detection)

    distances, again, by_head = evaluate(build)
    center = (anchors[0, :2] + anchors[0, 2:]) / 2
    top, left, bottom, right = boxes[1, 0]
    expected = [center[0] - top, center[1] - left, bottom - center[0], right - center[1]]
    np.testing.assert_allclose(distances[1, 0], np.array(expected) * 64 / 8, rtol=1e-4)  # cells of 8 pixels
    np.testing.assert_allclose(again, boxes, atol=1e-5)
    np.testing.assert_array_equal(by_head, again)


def test_a_distribution_is_read_as_its_mean():
    logits = np.full([1, 2, 4, 17], -100.0)
    for side, places in enumerate([[0], [16], [3, 4], [2, 8]]):
        logits[0, :, side, places] = 5.0
    found = evaluate(lambda: expected_distances(tf.constant(logits.reshape(1, 2, 68), tf.float32)))
    np.testing.assert_allclose(found, [[[0, 16, 3.5, 5]] * 2], atol=1e-5)


def test_the_two_places_around_a_distance_are_trained_by_nearness():
    """Equation 6 of the paper, for sides one by one; distances beyond the ends count as the ends."""
    logits, distances = RANDOM.normal(0, 2, [3, 5, 4, 17]), RANDOM.uniform(-3, 20, [3, 5, 4])
    distances[0, 0] = (0, 16, 7, 2.25)
    found = evaluate(
        lambda: distribution_focal_loss(
            tf.constant(logits.reshape(3, 5, 68), tf.float32), tf.constant(distances, tf.float32)
        )
    )
    logs = log_softmax(logits)
    expected = np.zeros([3, 5])
    for place in np.ndindex(3, 5, 4):
        y = min(max(distances[place], 0), 16)
        left = min(int(y), 15)
        expected[place[:2]] -= ((left + 1 - y) * logs[place][left] + (y - left) * logs[place][left + 1]) / 4
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    by_hand = evaluate(lambda: distribution_focal_loss(tf.zeros([1, 1, 68]), floats(((1, 2.5, 3, 4),))))
    assert by_hand[0, 0] == pytest.approx(np.log(17), rel=1e-6)


def test_the_gradient_of_the_loss_is_its_slope():
    logits, distances, step = RANDOM.normal(size=[1, 2, 68]), RANDOM.uniform(0, 16, [1, 2, 4]), 1e-6

    def build():
        inputs, targets = tf.constant(logits), tf.constant(distances)
        gradient = tf.gradients(distribution_focal_loss(inputs, targets), inputs)[0]
        shifts = np.eye(68)[:, np.newaxis] * step
        ends = [distribution_focal_loss(inputs + sign * shifts, tf.tile(targets, [68, 1, 1])) for sign in (1, -1)]
        return gradient, (ends[0] - ends[1]) / (2 * step)

    gradient, slope = evaluate(build)
    np.testing.assert_allclose(gradient[0], slope.T, atol=1e-7)
    assert np.abs(gradient).max() > 0.01


def test_the_gradient_of_the_mean_is_its_slope():
    logits, step = RANDOM.normal(size=[1, 2, 68]), 1e-6

    def build():
        inputs = tf.constant(logits)
        gradient = tf.gradients(expected_distances(inputs), inputs)[0]
        shifts = np.eye(68)[:, np.newaxis] * step
        ends = [tf.reduce_sum(expected_distances(inputs + sign * shifts), axis=2) for sign in (1, -1)]
        return gradient, (ends[0] - ends[1]) / (2 * step)

    gradient, slope = evaluate(build)
    np.testing.assert_allclose(gradient[0], slope.T, atol=1e-6)
