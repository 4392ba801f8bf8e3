"""Smoothed and mixed targets for classification against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from runtime.classification.mixing import mixup
from runtime.classification.training import smoothed_one_hot
from tests.runtime.tiny_classifier import batch, task
from tests.utils.input_records import run_graph


@pytest.mark.parametrize(("classes", "smoothing"), [(4, 0.0), (4, 0.1), (1001, 0.1), (1, 0.1)])
def test_smoothing_takes_from_the_label_and_gives_to_all_classes_alike(classes, smoothing):
    labels = np.array([0, classes - 1])
    on, off = 1 - smoothing + smoothing / classes, smoothing / classes
    expected = np.where(np.arange(classes) == labels[:, None], on, off)
    found = run_graph(lambda: smoothed_one_hot(tf.constant(labels, tf.int32), classes, smoothing))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)


def mixed(mask, alpha=0.2, seed=(10, 3), size=1):
    """Mixes rows that encode their origin; returns (images, labels, each row's weight of its own image)."""
    count = len(mask)
    images = np.random.default_rng(1).normal(size=(count, size, size, 3)).astype(np.float32)
    labels = np.eye(count, dtype=np.float32)
    outputs = run_graph(
        lambda: mixup(
            tf.constant(images), tf.constant(labels), tf.constant(mask, tf.float32), alpha, tf.constant(seed, tf.int64)
        )
    )
    return images, outputs, np.diagonal(outputs[1])


def test_mixup_blends_each_row_with_its_mirror_by_one_share_for_image_and_target():
    images, (blended, targets), share = mixed([1] * 6, size=2)
    wide = share[:, None, None, None]
    np.testing.assert_allclose(blended, wide * images + (1 - wide) * images[::-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(targets, share[:, None] * np.eye(6) + (1 - share[:, None]) * np.eye(6)[::-1], atol=1e-6)
    assert len(set(share.tolist())) == 6  # one weight per row, not per batch


def test_rows_that_do_not_count_are_neither_mixed_nor_mixed_in():
    mask = [1, 0, 1, 1, 1, 1]  # row 1 does not count; its partner is row 4
    images, (blended, targets), share = mixed(mask)
    assert share[1] == share[4] == 1.0
    for row in (1, 4):
        np.testing.assert_array_equal(blended[row], images[row])
        np.testing.assert_array_equal(targets[row], np.eye(6)[row])
    assert all(0 < share[row] < 1 for row in (0, 2, 3, 5))


def test_the_middle_row_of_an_odd_batch_stays_itself():
    images, (blended, targets), _ = mixed([1] * 5)
    np.testing.assert_allclose(blended[2], images[2], rtol=1e-6)
    np.testing.assert_allclose(targets[2], np.eye(5)[2], rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_have_the_moments_of_the_beta_distribution(alpha):
    count = 20_000
    images, labels = np.zeros((count, 1, 1, 1), np.float32), np.zeros((count, 2), np.float32)
    labels[: count // 2, 0] = labels[count // 2 :, 1] = 1
    _, targets = run_graph(
        lambda: mixup(tf.constant(images), tf.constant(labels), tf.ones(count), alpha, tf.constant([7, 1], tf.int64))
    )
    share = np.where(labels[:, 0] == 1, targets[:, 0], targets[:, 1])
    assert share.mean() == pytest.approx(0.5, abs=0.01)
    assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.005)
    assert abs(np.corrcoef(share, share[::-1])[0, 1]) < 0.03


def test_shares_follow_from_seed_and_step_alone():
    first, again, later, other = (mixed([1] * 8, seed=seed)[2] for seed in ((10, 3), (10, 3), (10, 4), (12, 3)))
    np.testing.assert_array_equal(first, again)
    assert not np.intersect1d(first, later).size
    assert not np.intersect1d(first, other).size


def prepared(**optimizer):
    def build():
        classification, read = task(**optimizer), batch([0, 1, 2, 0])
        images = classification.network.normalize(read.images)
        images, targets = classification.training.prepare(images, read, tf.constant(3, tf.int64))
        return images, targets["probabilities"], read.images

    return run_graph(build)


def test_training_sees_normalized_images_and_smoothed_targets():
    images, targets, raw = prepared(label_smoothing=0.3)
    mean, std = np.array([123.68, 116.28, 103.53]), np.array([58.395, 57.12, 57.385])
    np.testing.assert_allclose(images, (raw - mean) / std, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(targets[1], [0.1, 0.8, 0.1], rtol=1e-5)


def test_a_threshold_makes_mixed_and_smoothed_targets_binary():
    mixture = prepared(label_smoothing=0.3, mixup_alpha=0.5)[1]
    _, targets, _ = prepared(label_smoothing=0.3, mixup_alpha=0.5, loss="bce", bce_target_threshold=0.12)
    np.testing.assert_array_equal(targets, np.where(mixture > 0.12, 1.0, 0.0))
    assert {1.0, 2.0} <= set(targets.sum(axis=1))  # some rows hold both classes


def test_the_binary_loss_is_the_mean_over_classes_and_images_that_count():
    logits = np.random.default_rng(2).normal(scale=3, size=(3, 4)).astype(np.float32)
    targets = np.random.default_rng(3).uniform(size=(3, 4)).astype(np.float32)

    def build():
        training = task(num_classes=4, loss="bce").training
        assert training.chance is None
        endpoints, mask = {"logits": tf.constant(logits)}, tf.constant([1.0, 0.0, 1.0])
        return training.losses(endpoints, {"probabilities": tf.constant(targets)}, mask)

    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    losses = -(targets * np.log(probabilities) + (1 - targets) * np.log(1 - probabilities))
    assert run_graph(build) == {"binary_cross_entropy": pytest.approx(losses[[0, 2]].mean(), rel=1e-6)}


def test_mixup_acts_on_what_was_normalized_and_smoothed():
    plain, plain_targets, _ = prepared(label_smoothing=0.3)
    images, targets, _ = prepared(label_smoothing=0.3, mixup_alpha=0.5)
    share = (targets[1, 1] - plain_targets[2, 1]) / (plain_targets[1, 1] - plain_targets[2, 1])
    assert 0 < share < 1
    np.testing.assert_allclose(images[1], share * plain[1] + (1 - share) * plain[2], rtol=1e-3, atol=1e-3)
