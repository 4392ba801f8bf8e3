"""The suggested rate for courses of a loss that are known."""

import numpy as np
import pytest

from tools.find_lr.suggestion import BELOW_RISE, STEEPEST, Divergence, find_rate

STEPS = 100
RATES = np.geomspace(1e-5, 100, STEPS)
PLACES = np.arange(STEPS)


def noise(seed, size=0.1):
    return np.random.default_rng(seed).normal(0, size, STEPS)


def until_high(losses, most=9.0):
    return losses[: next((n for n, loss in enumerate(losses) if loss > most), STEPS)]


@pytest.mark.parametrize("seed", range(10))
def test_the_steepest_fall_is_found_without_lag_in_noise_and_before_a_rise(seed):
    falls = 2.3 - 1.5 / (1 + np.exp(-(PLACES - 40) / 4))  # steepest at 40 by the logistic function's symmetry
    losses = until_high(falls + np.exp((PLACES - 70) / 3) + noise(seed))
    found = find_rate(RATES, losses, STEPS)
    assert found.rule == STEEPEST
    assert abs(int(np.argmin(abs(RATES - found.suggestion))) - 40) <= 3
    assert 45 <= found.lowest <= 68
    assert found.smoothed.shape == losses.shape
    np.testing.assert_allclose(found.smoothed[20:60], falls[20:60], rtol=0, atol=0.2)


def test_the_line_of_the_smoothing_is_exact_for_a_line_up_to_its_ends():
    losses = 5.0 - 0.03 * PLACES
    np.testing.assert_allclose(find_rate(RATES, losses, STEPS).smoothed, losses, rtol=1e-9)


def test_a_loss_that_never_falls_gives_a_tenth_of_the_rate_at_which_it_rises():
    losses = np.where(PLACES < 60, 2.0, 4.0) + noise(1, 0.01)
    found = find_rate(RATES, losses, STEPS)
    # The mean, 0.8 of the former and 0.2 of the new loss, is 2.4 after one step at 4 and 2.72 after two; 2.5 is risen.
    assert (found.rule, found.suggestion) == (BELOW_RISE, pytest.approx(RATES[61] / 10))


def test_noise_alone_suggests_nothing():
    found = [find_rate(RATES, 2.3 + noise(seed), STEPS).suggestion for seed in range(50)]
    assert sum(rate is not None for rate in found) <= 2


def test_a_loss_diverges_at_four_times_its_lowest_mean_above_its_beginning():
    def steps(*losses):
        divergence = Divergence()
        return [divergence.after(loss) for loss in losses].index(True)

    assert steps(2.0, *[0.5] * 40, *[100.0] * 3) == 41  # one step lifts the mean to 20.4
    assert steps(2.0, float("nan")) == 1
    falling = Divergence()
    assert not any(falling.after(loss) for loss in [20.0, *[1.0] * 40, *[18.0] * 40]), "18 is below the beginning"
