"""Mosaics against NumPy: pixels, boxes, and the choice of the images."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection.augmentation.mixing import (
    DRAWS_SPEC,
    DRAWS_TARGET,
    ObjectMixing,
    mixing_draws,
    steps_with_mosaics,
)
from object_detection.augmentation.mosaic import DRAWS, Mosaics, choose, mosaic_images, mosaic_objects
from object_detection.groundtruth import ROWS, Groundtruth, joined_in_few_rows
from tests.object_detection.evaluate import evaluate
from utils.input.batching import STATUS_BAD_LABEL, STATUS_OK, Batch
from utils.object_augment_config import ObjectAugmentConfig

N, SHAPE = 5, (12, 16)
INDEX = np.array([31, 4, 15, 9, 26])
SLOTS = 8


def draws_of(seed, count=N):
    return np.random.default_rng(seed).random((count, DRAWS)).astype(np.float32)


def chosen(draws, index=INDEX, mask=None, probability=1.0):
    mask = np.ones(len(index)) if mask is None else np.array(mask)
    return evaluate(lambda: choose(
        tf.constant(draws), tf.constant(index, tf.int64), tf.constant(mask, tf.float32), probability, SHAPE
    ))  # fmt: skip


def scenes(seed, count=N, rows=4):
    """Images and their objects; the last row of each is padding, and one object is ignored."""
    rng = np.random.default_rng(seed)
    images = rng.random((count, *SHAPE, 3)).astype(np.float32)
    low, high = np.sort(rng.random((2, count, rows, 2)), axis=0)
    boxes = np.concatenate([low, high], axis=-1).astype(np.float32)
    boxes[:, -1] = 0
    boxes[0, 0] = [0, 0, 1, 1]
    weights = np.full((count, rows), 0.5, np.float32)
    weights[:, -1], weights[1, 0] = 0, 0
    ignored = np.zeros((count, rows), bool)
    ignored[1, 0] = True
    labels = rng.integers(1, SLOTS, (count, rows)).astype(np.int32)
    return images, Groundtruth(boxes, labels, weights, ignored)


def quarter(number, center):
    """The place of a quarter in the mosaic, and where its image begins, in pixels."""
    (height, width), (row, column) = SHAPE, center
    lower, right = divmod(number, 2)
    place = (slice(row, height) if lower else slice(0, row), slice(column, width) if right else slice(0, column))
    return place, (row if lower else row - height, column if right else column - width)


def composed(images, sources, center):
    """The mosaic of one example."""
    mosaic = np.full_like(images[0], np.nan)
    for number, source in enumerate(sources):
        (rows, columns), (top, left) = quarter(number, center)
        part = np.roll(images[source], (top, left), axis=(0, 1))
        mosaic[rows, columns] = part[rows, columns]
    return mosaic


def objects_in(groundtruth, sources, center, least):
    """Box, label, weight and ignored of each object of a mosaic."""
    found = []
    for number, source in enumerate(sources):
        (rows, columns), corner = quarter(number, center)
        for box, *others in zip(*(values[source] for values in groundtruth), strict=True):
            if not others[1] and not others[2]:
                continue
            moved = box * np.tile(SHAPE, 2) + np.tile(corner, 2)
            top, left, bottom, right = (
                *np.maximum(moved[:2], [rows.start, columns.start]),
                *np.minimum(moved[2:], [rows.stop, columns.stop]),
            )
            area, visible = np.prod(moved[2:] - moved[:2]), max(bottom - top, 0) * max(right - left, 0)
            if visible > 1e-5 * area and visible >= least * area:
                found.append((np.array([top, left, bottom, right]) / np.tile(SHAPE, 2), *others))
    return found


@pytest.mark.parametrize("least", [0.0, 0.4])
def test_pixels_and_boxes_are_those_that_numpy_composes(least):
    cut = 0
    for seed in range(6):
        images, groundtruth = scenes(seed)
        mosaics = chosen(draws_of(seed))

        def build(images=images, groundtruth=groundtruth, mosaics=mosaics):
            given = Mosaics(*map(tf.constant, mosaics))
            whole = Groundtruth(*map(tf.constant, groundtruth))
            objects = joined_in_few_rows(mosaic_objects(whole, given, SHAPE, least))
            return mosaic_images(tf.constant(images), given), objects

        made, objects = evaluate(build)
        assert objects.boxes.shape == (N, ROWS, 4)
        for row, (sources, center) in enumerate(zip(*mosaics, strict=True)):
            np.testing.assert_array_equal(made[row], composed(images, sources, center))
            expected = objects_in(groundtruth, sources, center, least)
            count = len(expected)
            for part, values in enumerate(objects):
                wanted = np.array([one[part] for one in expected]).reshape(values[row, :count].shape)
                np.testing.assert_allclose(values[row, :count], wanted, atol=1e-5)
                assert not values[row, count:].any()
            cut += count
    assert cut > 60


def test_a_point_lies_in_the_middle_half_and_the_others_are_three_draws_of_the_rest():
    centers, partners = [], []
    for seed in range(60):
        sources, center = chosen(draws_of(seed))
        np.testing.assert_array_equal(sources[:, 3], np.arange(N))
        assert not (sources[:, :3] == np.arange(N)[:, np.newaxis]).any()
        centers.append(center)
        partners.append((sources[:, :3] - np.arange(N)[:, np.newaxis]) % N)
    low, high = np.min(centers, axis=(0, 1)), np.max(centers, axis=(0, 1))
    assert low.tolist() == [3, 4]
    assert high.tolist() == [8, 11]
    counts = np.bincount(np.ravel(partners), minlength=N)
    assert counts[0] == 0
    assert (np.abs(counts[1:] / np.sum(counts) - 0.25) < 0.05).all()


def test_a_share_of_0_leaves_images_and_objects_as_they_are():
    images, groundtruth = scenes(1)
    draws = draws_of(2)
    draws[:, 0] = 0

    def build():
        mosaics = choose(tf.constant(draws), tf.constant(INDEX, tf.int64), tf.ones([N]), 0.0, SHAPE)
        whole = Groundtruth(*map(tf.constant, groundtruth))
        objects = joined_in_few_rows(mosaic_objects(whole, mosaics, SHAPE, 1.0))
        return mosaics, mosaic_images(tf.constant(images), mosaics), objects

    mosaics, made, objects = evaluate(build)
    assert not mosaics.centers.any()
    np.testing.assert_array_equal(made, images)
    for values, before in zip(objects, groundtruth, strict=True):
        np.testing.assert_array_equal(values[:, :3], before[:, :3])


def test_about_the_given_share_becomes_mosaics():
    mosaics = chosen(draws_of(3, 400), np.arange(400), probability=0.3)
    changed = (mosaics.centers > 0).any(axis=1)
    assert 90 < changed.sum() < 150
    assert ((mosaics.sources == np.arange(400)[:, np.newaxis]).all(axis=1) == ~changed).all()


def test_the_order_of_the_batch_does_not_matter():
    draws, order = draws_of(4), np.array([3, 0, 4, 1, 2])
    sources, centers = chosen(draws)
    others, other_centers = chosen(draws[order], INDEX[order])
    np.testing.assert_array_equal(INDEX[order][others], INDEX[sources][order])
    np.testing.assert_array_equal(other_centers, centers[order])


def test_images_that_do_not_count_are_in_no_mosaic():
    mask, left_alone = [1, 1, 0, 1, 1], 0
    for seed in range(10):
        whole, found = chosen(draws_of(seed)), chosen(draws_of(seed), mask=mask)
        for row in range(N):
            if 2 in whole.sources[row]:
                assert found.sources[row].tolist() == [row] * 4
                assert not found.centers[row].any()
                left_alone += row != 2
            else:
                np.testing.assert_array_equal(found.sources[row], whole.sources[row])
    assert left_alone


def test_a_batch_of_one_image_is_composed_of_that_image():
    sources, centers = chosen(draws_of(5, 1), INDEX[:1])
    assert sources.tolist() == [[0, 0, 0, 0]]
    assert centers.min() > 0


def test_draws_depend_on_the_seed_of_the_example_alone():
    seeds = [(1, 2), (1, 2), (1, 3)]
    one, again, other = evaluate(lambda: [mixing_draws(tf.constant(seed, tf.int64)) for seed in seeds])
    np.testing.assert_array_equal(one, again)
    assert (one != other).all()
    assert one.shape == DRAWS_SPEC.shape


@pytest.mark.parametrize(("steps", "last"), [(1000, 900), (10, 9), (4, 4), (1, 1)])
def test_mosaics_end_before_the_last_tenth(steps, last):
    assert steps_with_mosaics(steps) == last


def test_mosaics_end_with_their_last_step():
    images, groundtruth = scenes(6)
    mixing = ObjectMixing(augment=ObjectAugmentConfig(mosaic=1.0), mosaic_steps=9)
    draws = np.random.default_rng(7).random((N, *DRAWS_SPEC.shape)).astype(np.float32)
    status = np.array([STATUS_OK, STATUS_OK, STATUS_BAD_LABEL, STATUS_OK, STATUS_OK], np.int32)

    def build():
        batch = Batch(tf.constant(images), {DRAWS_TARGET: tf.constant(draws)}, tf.constant(status), tf.constant(INDEX))
        whole = Groundtruth(*map(tf.constant, groundtruth))
        return [mixing(batch.images, whole, batch, tf.constant(step, tf.int64)) for step in (8, 9)]

    (mixed, objects), (plain, as_before) = evaluate(build)
    changed = (mixed != images).any(axis=(1, 2, 3))
    assert changed[[0, 1, 3, 4]].any()
    assert not changed[2]
    np.testing.assert_array_equal(plain, images)
    np.testing.assert_array_equal(as_before.boxes[:, :3], groundtruth.boxes[:, :3])
    assert not np.array_equal(objects.boxes, as_before.boxes)
