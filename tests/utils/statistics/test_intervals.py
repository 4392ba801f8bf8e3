"""Intervals against the arithmetic of a textbook."""

import numpy as np
import pytest

from utils.statistics.intervals import group_sums, percentile_interval, resamples, wilson


def test_wilsons_interval_is_that_of_the_formula():
    # z = 1.959964, z²/n = 0.384146: (0.7 + 0.192073 ± 1.959964 sqrt(0.021 + 0.0096036)) / 1.384146
    assert wilson(7, 10) == pytest.approx([0.396778, 0.892209], abs=1e-5)


def test_wilsons_interval_ends_where_a_share_does():
    assert wilson(0, 5) == [0.0, pytest.approx(0.4344825, abs=1e-6)]  # z² / (n + z²) = 3.841459 / 8.841459
    assert wilson(5, 5) == [pytest.approx(0.5655175, abs=1e-6), 1.0]
    with pytest.raises(ValueError, match="2 hits of 1"):
        wilson(2, 1)


def test_resamples_are_as_large_as_the_data_repeatable_and_the_same_in_any_chunks(monkeypatch):
    whole = np.concatenate([*resamples(30, 200)])
    assert whole.shape == (200, 30)
    assert (whole.sum(axis=1) == 30).all()
    assert whole.mean() == 1.0
    monkeypatch.setattr("utils.statistics.intervals._MOST_WEIGHTS", 300)
    assert np.array_equal(whole, np.concatenate([*resamples(30, 200)]))
    assert not np.array_equal(whole, np.concatenate([*resamples(30, 200, seed=1)]))


def test_a_bootstrap_of_a_mean_agrees_with_its_standard_error():
    values = np.random.default_rng(2).normal(size=400)
    low, high = percentile_interval(np.concatenate([w @ values / 400 for w in resamples(400)]))
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.08)
    assert percentile_interval(np.array([np.nan])) is None


def test_sums_are_those_of_each_group():
    weights = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    assert group_sums(weights, np.array([0, 2, 0]), 3).tolist() == [[5, 0, 2], [40, 0, 16]]
