"""CutMix, and the choice between it and mixup, on batches whose pixels say where they come from."""

import numpy as np
import pytest
import tensorflow as tf

from runtime.classification.mixing import mixed
from tests.utils.input_records import run_graph


def mixtures(alphas, steps=1, count=6, size=16, mask=None, seed=10):
    """Mixed batches of images that show the number of their row: images and targets, one for each step."""
    images = np.broadcast_to(np.arange(1.0, count + 1)[:, None, None, None], (count, size, size, 3)).astype(np.float32)
    mask = np.ones(count) if mask is None else np.array(mask)

    def build():
        fixed = tf.constant(images), tf.eye(count), tf.constant(mask, tf.float32)
        return tf.map_fn(
            lambda step: mixed(*fixed, alphas, tf.stack([tf.constant(seed, tf.int64), step])),
            tf.range(steps, dtype=tf.int64),
            fn_output_signature=(tf.float32, tf.float32),
        )

    return run_graph(build)


def test_cutmix_puts_a_rectangle_of_the_mirror_row_into_each_row_and_shares_the_target_by_area():
    (images,), (targets,) = mixtures((0.0, 1.0))
    shares = []
    for row, (image, target) in enumerate(zip(images, targets, strict=True)):
        other = 5 - row
        cut = image[..., 0] == other + 1
        assert (cut | (image[..., 0] == row + 1)).all()
        rows, columns = np.nonzero(cut)
        if len(rows):
            assert cut[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
        assert target[row] == pytest.approx(1 - cut.mean())
        assert target.sum() == pytest.approx(1)
        assert target[other] == pytest.approx(cut.mean(), abs=1e-6)
        shares.append(cut.mean())
    assert len(set(shares)) > 3  # a rectangle for each row


def test_rows_that_do_not_count_neither_give_nor_get_a_part():
    (images,), (targets,) = mixtures((0.0, 1.0), mask=[1, 0, 1, 1, 1, 1])
    for row in (1, 4):
        assert (images[row] == row + 1).all()
        np.testing.assert_array_equal(targets[row], np.eye(6)[row])


def test_kept_shares_have_the_mean_of_the_clipped_rectangles_and_follow_from_the_step():
    _, targets = mixtures((0.0, 1.0), steps=400)
    own = targets[:, np.arange(6), np.arange(6)]
    random = np.random.default_rng(2)
    kept, center = random.beta(1, 1, 20_000), random.uniform(size=(2, 20_000))
    half = np.sqrt(1 - kept) / 2
    sides = np.minimum(center + half, 1) - np.maximum(center - half, 0)
    assert own.mean() == pytest.approx(1 - sides.prod(axis=0).mean(), abs=0.02)
    np.testing.assert_array_equal(targets[:5], mixtures((0.0, 1.0), steps=5)[1])
    assert not np.array_equal(targets[:5], mixtures((0.0, 1.0), steps=5, seed=12)[1])


def test_with_both_each_batch_is_mixed_by_one_of_them_and_each_of_them_has_half():
    images, _ = mixtures((0.5, 1.0), steps=200)
    whole = np.equal(images, np.round(images)).all(axis=(2, 3, 4))
    flat = np.ptp(images, axis=(2, 3, 4)) < 1e-5
    blended, cut = ~whole & flat, whole & ~flat
    assert not (~whole & ~flat).any()  # no image is blended and cut
    assert not (blended.any(axis=1) & cut.any(axis=1)).any()
    assert cut.any(axis=1).mean() == pytest.approx(0.5, abs=0.12)
    assert blended.any(axis=1).mean() == pytest.approx(0.5, abs=0.12)
