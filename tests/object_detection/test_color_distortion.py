"""Distorted colors against NumPy."""

import numpy as np
import pytest

from tests.object_detection.augmenting import augmenting
from tests.utils.input_records import noise
from utils.detection_config import ColorSpec


@pytest.mark.parametrize("ordering", [0, 1])
def test_colors_change_and_stay_in_their_range(ordering):
    pixels = noise(5, 16, 16)
    with augmenting(pixels, [ColorSpec(ordering=ordering)]) as run:
        images = [run(seed)[0] for seed in range(30)]
    assert min(image.min() for image in images) >= 0
    assert max(image.max() for image in images) <= 255
    means = [image.mean() for image in images]
    assert max(means) - min(means) > 20
    assert all(np.abs(image - pixels).mean() > 2 for image in images)


NO_CHANGE = {"brightness": 0.0, "saturation": (1.0, 1.0), "hue": 0.0, "contrast": (1.0, 1.0)}


def test_a_distortion_by_nothing_changes_nothing():
    pixels = noise(5, 16, 16)
    with augmenting(pixels, [ColorSpec(**NO_CHANGE)]) as run:
        np.testing.assert_allclose(run(1)[0], pixels, atol=0.05)


def test_brightness_is_added_to_all_pixels_alike():
    pixels = np.full((16, 16, 3), 128, np.uint8)
    with augmenting(pixels, [ColorSpec(**NO_CHANGE | {"brightness": 0.2})]) as run:
        shifts = np.array([run(seed)[0] - pixels for seed in range(60)])
    assert np.ptp(shifts, axis=(1, 2, 3)).max() < 0.05
    assert -51.1 < shifts.min() < -30
    assert 30 < shifts.max() < 51.1


@pytest.mark.parametrize("ordering", [0, 1])
def test_the_ordering_says_whether_contrast_comes_last(ordering):
    """Without saturation a pixel is its largest channel, of which it matters whether its contrast was halved."""
    pixels = noise(6, 16, 16).astype(np.float64)

    def halved(values):
        mean = values.mean(axis=(0, 1))
        return mean + 0.5 * (values - mean)

    gray = pixels.max(axis=2, keepdims=True).repeat(3, axis=2)
    expected = halved(gray) if ordering == 0 else halved(pixels).max(axis=2, keepdims=True).repeat(3, axis=2)
    spec = ColorSpec(brightness=0.0, saturation=(0.0, 0.0), hue=0.0, contrast=(0.5, 0.5), ordering=ordering)
    with augmenting(pixels.astype(np.uint8), [spec]) as run:
        np.testing.assert_allclose(run(1)[0], expected, atol=0.05)
