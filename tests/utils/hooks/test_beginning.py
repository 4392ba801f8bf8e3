"""The loss of the first step beside that of chance."""

import logging

import numpy as np
import pytest

from tests.utils.hooks.steps import step
from utils.hooks.beginning import FAR, BeginningHook, Chance

CHANCE = Chance(loss="cross_entropy", initial_key="initial", key="ln_k", value=2.0, remedy="--flag=good")


def begun(loss, *, new=True):
    hook = BeginningHook(CHANCE, new=new)
    for value in (loss, 1.0):
        hook.after_step(step(1, cross_entropy=np.float32(value)))
    return hook


def test_the_first_loss_is_told_once():
    hook = begun(2.5)
    assert hook.take() == {"initial": 2.5, "ln_k": 2.0}
    assert hook.take() == {}


@pytest.mark.parametrize(("loss", "new", "warned"), [(6.5, True, True), (5.5, True, False), (6.5, False, False)])
def test_a_new_network_far_from_chance_is_warned_about(loss, new, warned, caplog):
    assert FAR == 3.0
    with caplog.at_level(logging.WARNING):
        begun(loss, new=new)
    told = [record.getMessage() for record in caplog.records]
    assert [text[:54] for text in told] == ["the new network begins with a loss of 6.5, equal proba"] * warned
    assert all(text.endswith("; --flag=good begins at 2") for text in told)
