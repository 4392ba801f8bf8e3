"""The base class of the observers."""

import dataclasses

import pytest

from tests.utils.hooks.steps import step
from utils.hooks.hook import Hook


def test_a_plain_hook_does_nothing_and_never_wants_to_stop():
    hook = Hook()
    hook.begin(0, None)
    hook.after_step(step(1))
    hook.end()
    assert hook.wants_stop is False


def test_a_hook_cannot_change_what_the_others_see():
    record = step(1, loss=2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.step = 2
