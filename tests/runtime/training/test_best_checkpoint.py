"""The choice of the best evaluation, and early stopping."""

import json

import pytest

from runtime.training.best_checkpoint import BestCheckpoint


def after(*values):
    best = BestCheckpoint()
    for number, value in enumerate(values, start=1):
        best = best.after(10 * number, value)
    return best


@pytest.mark.parametrize(
    ("values", "step", "value", "evaluations_since"),
    [
        ((), -1, float("-inf"), 0),
        ((0.0,), 10, 0.0, 0),  # an accuracy of 0 is still the best so far
        ((0.3, 0.4, 0.5), 30, 0.5, 0),
        ((0.5, 0.4, 0.3), 10, 0.5, 2),
        ((0.3, 0.5, 0.4, 0.6, 0.1), 40, 0.6, 1),
        ((0.5, 0.5, 0.5), 10, 0.5, 2),  # an equal value is not an improvement: the earlier one stays
    ],
)
def test_the_highest_value_is_kept_with_its_step(values, step, value, evaluations_since):
    best = after(*values)
    assert (best.step, best.value, best.evaluations_since) == (step, value, evaluations_since)


def test_patience_counts_evaluations_in_a_row():
    assert not after(0.5, 0.4).exhausted(2)
    assert after(0.5, 0.4, 0.3).exhausted(2)
    assert after(0.5, 0.4, 0.3, 0.2).exhausted(2)
    assert not after(0.5, 0.4, 0.6, 0.3).exhausted(2)


def test_patience_zero_never_ends():
    assert not after(0.5, *[0.1] * 100).exhausted(0)


def test_the_state_survives_its_json():
    best = after(0.25, 0.5, 0.125)
    assert BestCheckpoint.from_json(json.loads(json.dumps(best.to_json()))) == best
    assert BestCheckpoint.from_json(None) == BestCheckpoint()
