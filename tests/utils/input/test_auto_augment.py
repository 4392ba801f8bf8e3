"""Draws of the policies, and of the steps that act on a share of the images."""

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.input_records import noise, run_graph
from utils.augment_config import RAND, TRIVIAL
from utils.input.augmentation_specs import AutoAugmentSpec, BlurSpec, ErasingSpec, GraySpec
from utils.input.auto_augment import POLICIES, auto_augment, draw, operations
from utils.input.pixel_steps import random_blur, random_erasing, random_gray
from utils.weights.pretrained_config import MEAN_RGB

TRIVIAL_SPEC = AutoAugmentSpec(policy=TRIVIAL)
SIDE = 20


def seeds(count):
    return tf.stack([tf.range(count, dtype=tf.int64), tf.fill([count], tf.constant(7, tf.int64))], axis=1)


def drawn(spec, count=6000):
    """Numbers and amounts of the operations for as many seeds, and the names by number."""
    signature = (tf.int32, tf.float32)
    numbers, amounts = run_graph(
        lambda: tf.map_fn(lambda seed: draw(seed, spec, 100), seeds(count), fn_output_signature=signature)
    )
    return np.array(list(operations(POLICIES[spec.policy])))[numbers], amounts


def images_of(step, spec, count=300):
    """An image changed by a step with as many seeds."""
    image = tf.constant
    return run_graph(
        lambda: tf.map_fn(
            lambda seed: step(image(noise(5, SIDE, SIDE), tf.float32), seed, spec),
            seeds(count),
            fn_output_signature=tf.float32,
        )
    )


def test_trivial_draws_one_of_14_operations_and_of_31_magnitudes_alike():
    names, amounts = drawn(TRIVIAL_SPEC)
    found, counts = np.unique(names, return_counts=True)
    assert set(found) == set(POLICIES[TRIVIAL].operations)
    assert len(found) == 14
    assert ((counts - 6000 / 14) ** 2 / (6000 / 14)).sum() < 34.5  # chi-squared of 13 degrees, p = 0.001
    angles = amounts[names == "rotate"]
    np.testing.assert_allclose(np.unique(np.abs(angles)), np.arange(31) * 4.5, rtol=1e-5, atol=1e-5)
    assert 0.4 < (angles > 0).mean() < 0.6
    assert set(np.abs(amounts[names == "translate_x"])) == {float(int(32 * k / 30)) for k in range(31)}
    assert set(np.floor(amounts[names == "posterize"])) == {2, 3, 4, 5, 6, 7, 8}
    solarized = amounts[names == "solarize"]
    assert (solarized.min(), solarized.max()) == (0, 255)
    assert np.abs(amounts[names == "color"] - 1).max() == pytest.approx(0.99)


def test_rand_applies_each_operation_with_probability_one_half_at_magnitudes_about_its_mean():
    names, amounts = drawn(AutoAugmentSpec(policy=RAND, ops=2, magnitude=7.0, std=0.5))
    assert (names == "unchanged").mean() == pytest.approx(0.5, abs=0.03)
    found, counts = np.unique(names[names != "unchanged"], return_counts=True)
    assert set(found) == set(POLICIES[RAND].operations)
    assert len(found) == 15
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 36.1  # chi-squared of 14 degrees, p = 0.001
    for name, step in (("rotate", 3.0), ("shear_x", 0.03), ("translate_y", 0.045 * 100)):
        magnitudes = np.abs(amounts[names == name]) / step
        assert magnitudes.mean() == pytest.approx(7, abs=0.15)
        assert magnitudes.std() == pytest.approx(0.5, abs=0.15)
    assert set(amounts[names == "solarize_add"]) <= set(range(50, 105))


def test_magnitudes_stay_between_0_and_10():
    for magnitude in (0.0, 10.0):
        names, amounts = drawn(AutoAugmentSpec(policy=RAND, magnitude=magnitude, std=3.0), count=1500)
        magnitudes = np.abs(amounts[names == "rotate"]) / 3.0
        assert magnitudes.max() <= 10.0001
        assert np.isclose(magnitudes, magnitude, atol=1e-4).mean() > 0.3


@pytest.mark.parametrize("spec", [TRIVIAL_SPEC, AutoAugmentSpec(policy=RAND, ops=2, magnitude=7.0, std=0.5)])
def test_images_change_by_their_seeds_and_keep_whole_numbers_of_their_range(spec):
    images = images_of(auto_augment, spec, 60)
    assert len({image.tobytes() for image in images}) > 20
    assert images.min() >= 0
    assert images.max() <= 255
    assert (images == np.round(images)).all()


@pytest.mark.parametrize(
    ("step", "spec"), [(random_gray, GraySpec), (random_blur, BlurSpec), (random_erasing, ErasingSpec)]
)
def test_a_step_changes_its_share_of_the_images(step, spec):
    changed = (images_of(step, spec(probability=0.3)) != noise(5, SIDE, SIDE)).any(axis=(1, 2, 3)).mean()
    assert changed == pytest.approx(0.3, abs=0.08)


def test_what_is_erased_is_a_rectangle_of_the_mean_color():
    areas, aspects, corners = [], [], set()
    for image in images_of(random_erasing, ErasingSpec(probability=1.0)):
        rows, columns = np.nonzero((image != noise(5, SIDE, SIDE)).any(axis=2))
        part = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        np.testing.assert_allclose(part, np.broadcast_to(MEAN_RGB, part.shape), rtol=1e-6)
        areas.append(part.shape[0] * part.shape[1] / SIDE**2)
        aspects.append(part.shape[0] / part.shape[1])
        corners.add((rows.min(), columns.min()))
    assert 0.01 < min(areas) < 0.03
    assert 0.3 < max(areas) < 0.36
    assert np.mean(areas) == pytest.approx((0.02 + 0.33) / 2, abs=0.02)
    assert min(aspects) < 0.5
    assert max(aspects) > 2
    assert len(corners) > 100
