"""Uniform crops against a second implementation of the published algorithm."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.input_records import run_graph
from utils.image_processing import uniform_window
from utils.input.augmentation_specs import CropSpec

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
SPEC = CropSpec(area=AREA, aspect_ratio=ASPECT, sampling="uniform")
COUNT = 2500


def windows(height, width, spec=SPEC, count=COUNT):
    def build():
        seeds = tf.stack([tf.range(count, dtype=tf.int64), tf.fill([count], tf.constant(3, tf.int64))], axis=1)
        shape = tf.constant([height, width])
        return tf.map_fn(lambda seed: uniform_window(shape, seed, spec), seeds, fn_output_signature=tf.int32)

    return run_graph(build)


def published(height, width, random):
    """A crop as torchvision's documentation and papers describe it: up to ten tries, then the middle."""
    for _ in range(10):
        area = height * width * random.uniform(*AREA)
        aspect = math.exp(random.uniform(*map(math.log, ASPECT)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return random.integers(0, height - h + 1), random.integers(0, width - w + 1), h, w
    h, w = height, width
    if width / height < ASPECT[0]:
        h = round(width / ASPECT[0])
    elif width / height > ASPECT[1]:
        w = round(height * ASPECT[1])
    return (height - h) // 2, (width - w) // 2, h, w


def kolmogorov_smirnov(one, other):
    """The p-value of two samples, by the asymptotic series."""
    both = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(sample), both, side="right") / len(sample) for sample in (one, other)]
    effective = math.sqrt(len(one) * len(other) / (len(one) + len(other)))
    scaled = effective * np.abs(shares[0] - shares[1]).max()
    return min(1.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101)))


@pytest.mark.parametrize(("height", "width"), [(375, 500), (300, 1500), (224, 224), (640, 200)])
def test_crops_are_distributed_as_published(height, width):
    random = np.random.default_rng(5)
    ours = windows(height, width)
    theirs = np.array([published(height, width, random) for _ in range(COUNT)])
    assert (ours >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= [height, width]).all()
    for measure in (
        lambda w: w[:, 2] * w[:, 3] / (height * width),
        lambda w: np.log(w[:, 3] / w[:, 2]),
        lambda w: w[:, 0],
        lambda w: w[:, 1],
    ):
        assert kolmogorov_smirnov(measure(ours), measure(theirs)) > 0.01


@pytest.mark.parametrize(("height", "width", "mean"), [(375, 500, 0.435), (300, 1500, 0.175)])
def test_mean_areas_are_those_measured_with_torchvision(height, width, mean):
    areas = windows(height, width)[:, 2:].prod(axis=1) / (height * width)
    assert areas.mean() == pytest.approx(mean, abs=4 * areas.std() / math.sqrt(COUNT))


@pytest.mark.parametrize(
    ("shape", "expected"), [((10, 1000), (0, 493, 10, 13)), ((1000, 10), (493, 0, 13, 10)), ((1, 1), (0, 0, 1, 1))]
)
def test_where_no_crop_fits_the_middle_is_taken(shape, expected):
    spec = CropSpec(area=(0.9, 1.0), aspect_ratio=ASPECT, sampling="uniform")
    assert (windows(*shape, spec, 20) == expected).all()
