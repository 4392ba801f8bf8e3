import numpy as np
import pytest
import tensorflow as tf

from object_detection.groundtruth import Groundtruth, in_few_rows
from tests.object_detection.evaluate import evaluate
from tests.object_detection.padding import padded


@pytest.mark.parametrize(("objects", "rows"), [(0, 16), (1, 16), (16, 16), (17, 32)])
def test_groundtruth_has_few_numbers_of_rows_and_loses_no_object(objects, rows):
    image = [((0.1, 0.1, 0.2, 0.2), 1, 1.0)] * objects
    given = padded([image, image[:1]], rows=objects + 1)
    found = evaluate(lambda: in_few_rows(Groundtruth(*map(tf.constant, given))))
    for tensor, original in zip(found, given, strict=True):
        assert tensor.shape[1] == rows
        np.testing.assert_array_equal(tensor[:, :objects], original[:, :objects])
        assert not tensor[:, objects:].any()


def test_rows_are_counted_on_the_host():
    """A GPU would have to tell the host in every step how many there are."""
    with tf.Graph().as_default():
        given = padded([[((0.1, 0.1, 0.2, 0.2), 1, 1.0)]], rows=2)
        few = in_few_rows(Groundtruth(*map(tf.constant, given)))
        assert {tensor.op.device for tensor in few} == {"/device:CPU:0"}
