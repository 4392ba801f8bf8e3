"""Tests between networks against worked examples, and the number of images they need."""

import math

import numpy as np
import pytest

from utils.statistics.paired import (
    CHI_SQUARE,
    EXACT,
    bootstrap_p,
    holm,
    images_to_tell,
    images_to_tell_shares,
    mcnemar,
)


@pytest.mark.parametrize(
    ("only", "p"),
    [
        ((2, 8), 2 * (1 + 10 + 45) / 2**10),  # 0.109375
        ((8, 2), 112 / 1024),
        ((0, 6), 2 / 64),
        ((5, 5), 1.0),  # twice more than half
        ((0, 0), 1.0),
        ((12, 12), 1.0),
        ((6, 18), 2 * (1 + 24 + 276 + 2024 + 10626 + 42504 + 134596) / 2**24),  # 0.0226560...
    ],
)
def test_few_discordant_images_give_the_exact_binomial(only, p):
    assert mcnemar(*only) == (pytest.approx(p, abs=1e-12), EXACT)


@pytest.mark.parametrize(
    ("only", "chi_square"),
    [((10, 15), 16 / 25), ((121, 59), 61**2 / 180), ((0, 25), 24**2 / 25), ((13, 13), 0.0)],
)
def test_many_give_the_chi_square_distribution_with_continuity_correction(only, chi_square):
    # with one degree of freedom, chi-square is the square of a normal number: P(x > c) = 2 (1 - Phi(sqrt(c)))
    found, name = mcnemar(*only)
    assert (found, name) == (pytest.approx(math.erfc(math.sqrt(chi_square / 2)), abs=1e-12), CHI_SQUARE)


def test_the_chi_square_distribution_has_its_tabulated_quantiles():
    # 3.841458820694124 is the 95th percentile of one degree of freedom; 24^2 / 25 = 23.04 has 1.5867e-6 above
    assert math.erfc(math.sqrt(3.841458820694124 / 2)) == pytest.approx(0.05, abs=1e-12)
    assert mcnemar(0, 25)[0] == pytest.approx(1.586787e-06, rel=1e-4)


def test_holms_method_multiplies_by_what_is_left_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 * 0.01, max(2 * 0.03, 1 * 0.04)
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_bootstrap_counts_the_rarer_side_and_never_gives_0():
    differences = np.array([-1.0] * 19 + [1.0] * 980)
    assert bootstrap_p(differences) == 2 * 20 / 1000
    assert bootstrap_p(np.ones(999)) == 2 / 1000
    assert bootstrap_p(np.zeros(999)) == 1.0
    assert bootstrap_p(np.array([np.nan])) == 1.0


def test_the_number_of_images_is_that_of_the_formulas():
    # Connor: (1.959964 sqrt(0.20) + 0.841621 sqrt(0.20 - 0.0025))^2 / 0.05^2 = (0.876523 + 0.374025)^2 / 0.0025
    assert images_to_tell_shares(25, 15, 200) == images_to_tell_shares(15, 25, 200) == 626
    assert images_to_tell(0.02, 0.4) == math.ceil((2.801585 * 0.4 / 0.02) ** 2)
    assert images_to_tell(0.0, 0.4) is images_to_tell_shares(3, 3, 10) is None


def test_a_test_with_that_number_of_images_finds_the_difference_four_times_of_five():
    needed = images_to_tell_shares(25, 15, 200)
    draws = np.random.default_rng(0).multinomial(needed, [0.125, 0.075, 0.8], 2000)
    found = np.mean([mcnemar(int(b), int(c))[0] < 0.05 for b, c, _ in draws])
    assert 0.74 < found < 0.84  # the continuity correction costs a little
