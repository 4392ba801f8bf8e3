"""Signals end a run cleanly."""

import os
import signal

import pytest

from utils.hooks.preemption import PreemptionHook


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_becomes_a_wish_to_stop(number):
    with PreemptionHook() as hook:
        assert not hook.wants_stop
        os.kill(os.getpid(), number)
        assert hook.wants_stop
        assert hook.received is number


def test_the_former_handlers_come_back():
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    with PreemptionHook() as hook:
        assert [signal.getsignal(number) for number in numbers] == [hook._receive] * 3
    assert [signal.getsignal(number) for number in numbers] == before
    with pytest.raises(RuntimeError), PreemptionHook():
        raise RuntimeError
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_second_ctrl_c_ends_the_program_at_once():
    with PreemptionHook() as hook:
        os.kill(os.getpid(), signal.SIGINT)
        assert hook.wants_stop
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_scheduler_that_repeats_itself_changes_nothing():
    with PreemptionHook() as hook:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert hook.received is signal.SIGTERM


def test_what_was_ignored_before_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with PreemptionHook() as hook:
            os.kill(os.getpid(), signal.SIGINT)
            assert not hook.wants_stop
    finally:
        signal.signal(signal.SIGINT, before)
