"""The limits within which an artefact equals its checkpoint."""

import math

import pytest

from runtime.artefacts.formats import Limits
from runtime.artefacts.saved_model import MOST_BETWEEN_SIGNATURES, signatures_differ
from runtime.artefacts.verification import Comparison

LIMITS = Limits(max_drift=0.01, max_metric_drop=0.02)


def compared(**changes):
    same = {"drift": 0.0, "metric": "top1_accuracy", "of_checkpoint": 0.5, "of_artefact": 0.5}
    return Comparison(**{"images": 1000, "synthetic": False, "largest_difference": {}, **same, **changes})


@pytest.mark.parametrize("changes", [{}, {"drift": 0.01}, {"of_artefact": 0.48}, {"of_artefact": 0.9}])
def test_what_is_within_the_limits_is_the_same_network(changes):
    assert compared(**changes).failure(LIMITS) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drift": 0.011}, "a drift of 0.011, more than 0.01"),
        ({"drift": math.inf}, "a drift of inf"),
        ({"drift": math.nan}, "a drift of nan"),
        ({"of_artefact": 0.47}, "top-1 fell from 0.5000 to 0.4700, by more than 0.02"),
    ],
)
def test_what_is_beyond_them_is_another_network(changes, words):
    assert compared(**changes).failure(LIMITS).startswith(words)


def test_one_image_more_or_less_is_no_fall():
    assert compared(images=10, of_artefact=0.4).failure(LIMITS) is None


def test_signatures_may_differ_by_rounding_alone():
    assert signatures_differ(MOST_BETWEEN_SIGNATURES) is None
    assert "differ by 0.002" in signatures_differ(0.002)
