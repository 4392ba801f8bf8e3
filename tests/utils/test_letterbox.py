"""The place of pictures that keep their proportions in the network's input, against exact fractions."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.input_records import run_graph
from utils.image_sizes import Sides
from utils.letterbox import resized_to_fit, share_of_input

INPUTS = [64, 320, Sides(128, 192), Sides(512, 96)]


def pictures():
    random = np.random.default_rng(5)
    return np.concatenate([random.integers(1, 3000, [400, 2]), [(128, 192), (65_535, 65_535), (1, 9000), (9000, 1)]])


def by_fractions(picture, rows, columns):
    """The sides of a picture times the largest factor that lets it fit, rounded half up, at least 1."""
    factor = min(Fraction(rows, int(picture[0])), Fraction(columns, int(picture[1])))
    return [max(1, floor(int(side) * factor + Fraction(1, 2))) for side in picture]


@pytest.mark.parametrize("size", INPUTS)
def test_pictures_are_as_large_as_fits(size):
    rows, columns = size if isinstance(size, Sides) else (size, size)
    found = resized_to_fit(pictures(), size, np)
    assert found.tolist() == [by_fractions(picture, rows, columns) for picture in pictures()]
    assert ((found[:, 0] == rows) | (found[:, 1] == columns)).all()
    in_graph = run_graph(lambda: resized_to_fit(tf.constant(pictures(), tf.int64), size, tf))
    np.testing.assert_array_equal(in_graph, found)


@pytest.mark.parametrize("size", INPUTS)
def test_boxes_come_back_from_the_input(size):
    boxes = np.random.default_rng(6).uniform(size=[len(pictures()), 4]).astype(np.float32)
    share = np.tile(share_of_input(pictures(), size, np), 2)
    np.testing.assert_allclose((boxes * share).astype(np.float32) / share, boxes, rtol=2e-7)
    assert (share > 0).all()
    assert (share <= 1).all()
    assert share.max(axis=1).tolist() == [1] * len(share)
    in_graph = run_graph(lambda: share_of_input(tf.constant(pictures(), tf.int64), size, tf))
    np.testing.assert_array_equal(in_graph, share[:, :2])


def test_a_row_without_a_picture_divides_by_nothing():
    found = run_graph(lambda: share_of_input(tf.zeros([1, 2], tf.int64), 64, tf))
    assert found.tolist() == [[1, 1]]
