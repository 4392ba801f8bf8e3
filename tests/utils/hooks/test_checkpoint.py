"""Saving a checkpoint every n steps."""

from tests.utils.hooks.steps import step
from utils.hooks.checkpoint import CheckpointHook


def saved(every, *numbers):
    calls = []
    hook = CheckpointHook(every, calls.append)
    for number in numbers:
        hook.after_step(step(number))
    return calls


def test_each_nth_step_is_saved():
    assert saved(3, *range(1, 11)) == [3, 6, 9]
    assert saved(1, 4, 5) == [4, 5]


def test_a_resumed_run_keeps_to_multiples():
    assert saved(1000, 998, 999, 1000, 1001) == [1000]


def test_a_step_that_is_not_left_for_several_batches_is_saved_once():
    assert saved(2, 1, 2, 2, 2, 3, 4) == [2, 4]


def test_a_skipped_first_step_saves_nothing():
    assert saved(2, 0, 0, 1) == []
