import numpy as np
import tensorflow as tf

from object_detection.boxes import box_ops
from tests.object_detection.evaluate import evaluate, floats

FIRST = ((4, 3, 7, 5), (5, 6, 10, 7))
SECOND = ((3, 4, 6, 8), (14, 14, 15, 15), (0, 0, 20, 20))
WINDOW = (0.0, 0.0, 9.0, 14.0)
BOXES = ((5, 5, 6, 6), (-1, -2, 4, 5), (2, 3, 5, 9), (0, 0, 9, 14), (-100, -100, 300, 600), (-10, -10, -9, -9))


def test_areas():
    np.testing.assert_array_equal(evaluate(lambda: box_ops.area(floats((0, 0, 10, 20), (1, 2, 3, 4)))), [200, 4])


def test_the_intersection_of_pairs():
    found = evaluate(lambda: box_ops.intersection(floats(*FIRST), floats(*SECOND)))
    np.testing.assert_array_equal(found, [[2, 0, 6], [1, 0, 5]])


def test_intersection_over_union_of_pairs():
    found = evaluate(lambda: box_ops.iou(floats(*FIRST), floats(*SECOND)))
    np.testing.assert_allclose(found, [[2 / 16, 0, 6 / 400], [1 / 16, 0, 5 / 400]], rtol=1e-6)


def test_the_images_of_a_batch_do_not_mix():
    def build():
        first, second = floats(*FIRST), floats(*SECOND)
        batch = tf.stack([first, 2 * first]), tf.stack([second, 2 * second])
        return box_ops.iou(*batch), box_ops.iou(first, second)

    batch, single = evaluate(build)
    np.testing.assert_allclose(batch, [single, single], rtol=1e-6)


def test_boxes_without_area_overlap_nothing():
    found = evaluate(lambda: box_ops.iou(floats((1, 1, 1, 1)), floats((1, 1, 1, 1), (0, 0, 2, 2))))
    np.testing.assert_array_equal(found, [[0, 0]])
    assert evaluate(lambda: box_ops.iou(tf.zeros([2, 4]), tf.zeros([0, 4]))).shape == (2, 0)


def test_the_part_of_a_box_that_a_window_covers():
    found = evaluate(lambda: box_ops.covered(floats(*SECOND, (4, 3, 4, 3)), tf.constant(FIRST[0], tf.float32)))
    np.testing.assert_allclose(found, [2 / 12, 0, 6 / 400, 0], rtol=1e-6)


def test_boxes_are_cut_to_a_window():
    found = evaluate(lambda: box_ops.clip(floats(*BOXES), tf.constant(WINDOW)))
    expected = [(5, 5, 6, 6), (0, 0, 4, 5), (2, 3, 5, 9), (0, 0, 9, 14), (0, 0, 9, 14), (0, 0, 0, 0)]
    np.testing.assert_array_equal(found, expected)


def test_what_only_touches_a_window_is_outside():
    found = evaluate(lambda: box_ops.touches_inside(floats(*BOXES, (9, 0, 10, 5)), tf.constant(WINDOW)))
    assert found.tolist() == [True, True, True, True, True, False, False]


def test_a_windows_own_coordinates():
    boxes, window = ((0.25, 0.5, 0.75, 0.75), (0.5, 0, 1, 1)), (0.25, 0.25, 0.75, 0.75)
    found = evaluate(lambda: box_ops.change_frame(floats(*boxes), tf.constant(window)))
    np.testing.assert_allclose(found, [(0, 0.5, 1, 1), (0.5, -0.5, 1.5, 1.5)])


def test_the_mirror_image():
    found = evaluate(lambda: box_ops.flip_left_right(floats((0, 0.25, 0.75, 1), (0.25, 0.5, 0.75, 1))))
    np.testing.assert_array_equal(found, [(0, 0, 0.75, 0.75), (0.25, 0, 0.75, 0.5)])
