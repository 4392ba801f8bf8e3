import numpy as np
import pytest
import tensorflow as tf

from object_detection.boxes.centerness import centerness, weighed_logits
from tests.object_detection.evaluate import evaluate, floats

BOX = (0.0, 0.0, 4.0, 8.0)


@pytest.mark.parametrize(
    ("y", "x", "expected"),
    [
        (2, 4, 1.0),  # the middle
        (1, 4, np.sqrt(1 / 3)),
        (1, 6, np.sqrt(1 / 3 * 2 / 6)),
        (3, 2, np.sqrt(1 / 3 * 2 / 6)),
        (0, 4, 0.0),  # the edge
        (2, 8, 0.0),
        (-1, 4, 0.0),  # outside, in one direction and in both
        (5, 9, 0.0),
    ],
)
def test_centerness_by_hand(y, x, expected):
    anchors = np.float32([[y - 3, x - 5, y + 3, x + 5]])
    found = evaluate(lambda: centerness(floats([BOX]), anchors))
    np.testing.assert_allclose(found, [[expected]], atol=1e-6)


def test_a_box_without_area_is_of_no_centerness():
    found = evaluate(lambda: centerness(floats([(1, 1, 1, 1)]), np.float32([[0, 0, 2, 2]])))
    assert found == 0


def test_a_score_becomes_its_geometric_mean_with_the_centerness():
    logits, central = np.meshgrid(np.linspace(-12, 12, 25), np.linspace(-12, 12, 25))
    found = evaluate(
        lambda: weighed_logits(
            tf.constant(logits[np.newaxis], tf.float32), tf.constant(central[np.newaxis, :, :1], tf.float32)
        )
    )
    score, weight = (1 / (1 + np.exp(-values)) for values in (logits, central))
    mean = np.sqrt(score * weight)
    np.testing.assert_allclose(found[0], np.log(mean / (1 - mean)), rtol=1e-4, atol=1e-5)


def test_extreme_logits_stay_finite_and_in_order():
    logits = [-500.0, -90.0, 0.0, 90.0, 500.0]
    for central in (-500.0, 0.0, 500.0):
        found = evaluate(lambda c=central: weighed_logits(floats([logits]), floats([[c]])))[0, 0]
        assert np.isfinite(found).all()
        assert (np.diff(found) >= 0).all()
        assert found[0] < found[2]
