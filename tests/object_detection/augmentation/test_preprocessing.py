"""Preprocessing: boxes by hand, whole images, and repeated steps."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection.augmentation.preprocessing import crop_objects, preprocess_image
from tests.object_detection.augmentation.augmenting import augmenting, objects_of
from tests.object_detection.evaluate import evaluate
from tests.utils.input_records import encode, legacy_resize, noise
from utils.input.augmentation_specs import ColorSpec, CropSpec, FlipSpec

WINDOW = (0.03, 0.3575, 0.98, 0.95)


# Boxes by hand


def cropped(boxes, overlap, clip, slots=None, weights=None, window=WINDOW):
    return evaluate(
        lambda: crop_objects(objects_of(boxes, slots, weights), tf.constant(window, tf.float32), overlap, clip=clip)
    )


def test_a_flipped_box_lies_where_its_mirror_image_does():
    with augmenting(noise(1), [FlipSpec()], [(0, 0.25, 0.75, 1), (0.25, 0.5, 0.75, 1)]) as run:
        found = {tuple(map(tuple, run(seed)[1].boxes.tolist())) for seed in range(20)}
    assert found == {
        ((0, 0.25, 0.75, 1), (0.25, 0.5, 0.75, 1)),
        ((0, 0, 0.75, 0.75), (0.25, 0, 0.75, 0.5)),
    }


THREE = ((0.1, 0.1, 0.8, 0.3), (0.2, 0.4, 0.75, 0.75), (0.3, 0.1, 0.4, 0.7))


def test_a_crop_keeps_what_it_covers_enough_of():
    found = cropped(THREE, 0.3, True, [1, 7, 11], [1, 0.5, 0.6])
    np.testing.assert_allclose(
        found.boxes, [(0.178947, 0.07173, 0.757895, 0.662447), (0.28421, 0, 0.389474, 0.578059)], atol=1e-5
    )
    assert found.slots.tolist() == [7, 11]
    np.testing.assert_allclose(found.weights, [0.5, 0.6])
    assert found.ignored.tolist() == [False, False]


def test_an_object_of_which_the_very_least_share_is_inside_is_kept():
    window, boxes = (0.0, 0.0, 1.0, 0.25), [(0.0, 0.0, 1.0, 0.5), (0.0, 0.0, 1.0, 0.625)]
    np.testing.assert_array_equal(cropped(boxes, 0.5, False, window=window).boxes, [(0.0, 0.0, 1.0, 2.0)])


def test_without_clipping_boxes_reach_out_of_the_crop():
    found = cropped(THREE, 0.3, False, [1, 7, 11])
    assert found.boxes[1, 1] == pytest.approx(-0.434599, abs=1e-5)
    assert found.slots.tolist() == [7, 11]


def test_boxes_at_the_edge_are_cut():
    found = cropped([(0, 0.25, 0.75, 1), (0.25, 0.5, 0.75, 1)], 0.0, True)
    np.testing.assert_allclose(found.boxes, [(0, 0, 0.757895, 1), (0.231579, 0.240506, 0.757895, 1)], atol=1e-5)


def test_an_overlap_of_0_keeps_slivers_but_nothing_that_only_touches():
    window = (0.25, 0.25, 0.75, 0.75)
    boxes = [(0.0, 0.0, 0.2501, 0.2501), (0.0, 0.0, 0.25, 0.25), (0.75, 0.3, 0.9, 0.4), (0.3, 0.3, 0.4, 0.4)]
    assert cropped(boxes, 0.0, True, window=window).slots.tolist() == [1, 4]


def test_there_may_be_no_objects():
    assert cropped([], 0.3, True).boxes.shape == (0, 4)
    with augmenting(noise(1), [FlipSpec(), CropSpec(min_object_covered=0.5), ColorSpec()], []) as run:
        image, objects = run(1)
    assert image.shape == (16, 16, 3)
    assert [len(values) for values in objects] == [0, 0, 0, 0]


# The grid


def test_encoded_images_are_decoded_whole():
    pixels = noise(4, 30, 20)
    found = evaluate(lambda: preprocess_image(tf.constant(encode(pixels)), 16))
    np.testing.assert_allclose(found, legacy_resize(pixels, 16, 16), atol=1e-3)


# Steps


def test_two_steps_of_a_kind_decide_for_themselves():
    with augmenting(noise(1), [FlipSpec(), FlipSpec()]) as run:
        seen = {tuple(run(seed)[1].boxes[0].tolist()) for seed in range(20)}
    assert len(seen) == 2
