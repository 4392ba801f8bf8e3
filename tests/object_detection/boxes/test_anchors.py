import numpy as np
import pytest

from object_detection.boxes.anchors import feature_sides, grid_anchors, pyramid_anchors
from utils.detection_config import AnchorSpec


def pixels(height, width, **spec):
    return pyramid_anchors(height, width, AnchorSpec(**spec)) * np.array([height, width, height, width])


ONE = {"aspect_ratios": (1.0,), "scales_per_octave": 1}


def test_the_anchors_of_a_320_pixel_image_are_those_of_existing_checkpoints():
    anchors = pyramid_anchors(320, 320, AnchorSpec())
    assert anchors.shape == (12804, 4)
    assert anchors.dtype == np.float32
    expected = {
        0: (-0.0375, -0.0375, 0.0625, 0.0625),
        1: (-0.058211, -0.058211, 0.083211, 0.083211),
        2: (-0.022855, -0.058211, 0.047855, 0.083211),
        3: (-0.0375, -0.0875, 0.0625, 0.1125),
        4: (-0.058211, -0.022855, 0.083211, 0.047855),
        5: (-0.0875, -0.0375, 0.1125, 0.0625),
        6: (-0.0375, -0.0125, 0.0625, 0.0875),
        240: (-0.0125, -0.0375, 0.0875, 0.0625),
        4925: (0.4125, 0.4625, 0.6125, 0.5625),
        9599: (0.8875, 0.9375, 1.0875, 1.0375),
        9600: (-0.075, -0.075, 0.125, 0.125),
        11999: (0.775, 0.875, 1.175, 1.075),
        12000: (-0.15, -0.15, 0.25, 0.25),
        12305: (0.15, -0.15, 0.95, 0.25),
        12600: (-0.3, -0.3, 0.5, 0.5),
        12674: (0.217157, -0.065685, 0.782843, 1.065686),
        12749: (0.1, 0.5, 1.7, 1.3),
        12750: (-0.8, -0.8, 0.8, 0.8),
        12755: (-1.6, -0.8, 1.6, 0.8),
        12779: (-1.2, -0.4, 2.0, 1.2),
        12803: (-0.8, 0.0, 2.4, 1.6),
    }
    for index, box in expected.items():
        np.testing.assert_allclose(anchors[index], box, atol=1e-6)
    exact = anchors.astype(np.float64)
    np.testing.assert_allclose(exact.sum(axis=0), [5212.0142, 5212.0142, 7581.1860, 7581.1860], rtol=1e-7)
    np.testing.assert_allclose([np.abs(exact).sum(), np.square(exact).sum()], [26053.992, 17963.52], rtol=1e-6)
    inside = (anchors >= 0).all(axis=1) & (anchors <= 1).all(axis=1)
    assert inside.sum() == 8821


def test_a_level_whose_stride_does_not_divide_the_image_has_its_anchors_on_corners():
    found = pixels(65, 65, min_level=5, max_level=5, **ONE)
    assert len(found) == 9
    np.testing.assert_allclose(found[[0, -1]], [(-64, -64, 64, 64), (0, 0, 128, 128)], atol=1e-4)
    centred = pixels(65, 65, min_level=5, max_level=5, centred=True, **ONE)
    np.testing.assert_allclose(centred, found + 16, atol=1e-4)


def test_anchors_are_in_the_order_of_level_row_column():
    four = [(-48, -48, 80, 80), (-48, -16, 80, 112), (-16, -48, 112, 80), (-16, -16, 112, 112)]
    np.testing.assert_allclose(pixels(64, 64, min_level=5, max_level=5, **ONE), four, atol=1e-4)
    np.testing.assert_allclose(
        pixels(64, 64, min_level=5, max_level=6, **ONE), [*four, (-96, -96, 160, 160)], atol=1e-4
    )


def test_anchors_are_normalized_by_height_and_width():
    anchors = pyramid_anchors(64, 128, AnchorSpec(min_level=5, max_level=5, **ONE))
    assert len(anchors) == 8
    np.testing.assert_allclose(anchors[0], (-48 / 64, -48 / 128, 80 / 64, 80 / 128))


def test_the_scale_changes_faster_than_the_aspect_ratio():
    found = pixels(64, 64, min_level=6, max_level=6, aspect_ratios=(1.0, 2.0), scales_per_octave=2)
    expected = [
        (-96, -96, 160, 160),
        (-149.0193, -149.0193, 213.0193, 213.0193),
        (-58.50967, -149.0193, 122.50967, 213.0193),
        (-96, -224, 160, 288),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("centred", [False, True])
def test_each_cell_has_as_many_anchors_as_the_spec_says(centred):
    spec = AnchorSpec(min_level=5, max_level=6, aspect_ratios=(1.0, 2.0), scales_per_octave=3, centred=centred)
    assert spec.per_cell == 6
    assert feature_sides(64, spec) == (2, 1)
    assert len(pyramid_anchors(64, 64, spec)) == (4 + 1) * 6


def test_a_plain_grid():
    found = grid_anchors((2, 2), 19, (0, 0), np.array([(5, 5), (10, 10), (20, 20)]))
    expected = [
        *[(-2.5, -2.5, 2.5, 2.5), (-5, -5, 5, 5), (-10, -10, 10, 10)],
        *[(-2.5, 16.5, 2.5, 21.5), (-5, 14, 5, 24), (-10, 9, 10, 29)],
        *[(16.5, -2.5, 21.5, 2.5), (14, -5, 24, 5), (9, -10, 29, 10)],
        *[(16.5, 16.5, 21.5, 21.5), (14, 14, 24, 24), (9, 9, 29, 29)],
    ]
    np.testing.assert_array_equal(found, expected)
