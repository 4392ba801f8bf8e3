"""Processes that watch each other, simulated by threads: a death, a silence and a signal count, a normal end not."""

import logging
import threading
import time

import pytest

from tests.runtime.processes import ALONE, Pretended
from utils.errors import RunError, UsageError
from utils.system import watchdog as module
from utils.system.watchdog import Pulse, Watchdog

TIMEOUT_S = 1.0


class Joined(Pretended):
    """One of several threads that wait for each other."""

    def __init__(self, rank, shared):
        super().__init__(shared.parties, rank=rank)
        self._shared = shared

    def gather(self, value):
        self._shared.values[self.rank] = value
        self._shared.wait(30)
        found = [self._shared.values[rank] for rank in range(self.size)]
        self._shared.wait(30)
        return found

    def broadcast(self, value):
        return self.gather(value)[0]

    def barrier(self):
        self.gather(None)


class Process(threading.Thread):
    """A process of a run: its action, the signals it heard, and the exit status from its watchdog."""

    def __init__(self, rank, shared, act):
        super().__init__(daemon=True)
        self.pulse, self.heard, self.ended = Pulse(step=10 * (rank + 1)), [], threading.Event()
        self.status = None
        self.dog = Watchdog(Joined(rank, shared), TIMEOUT_S, lambda: self.pulse, self.heard.append, self._end)
        self._act = act

    def _end(self, status):
        self.status = status
        self.ended.set()

    def run(self):
        self.dog.__enter__()
        self._act(self)

    def die(self):
        """Leaves like a killed process: its connections close without a message."""
        self.dog._closing.set()
        self.dog._close()


def play(*acts):
    """Runs processes, each with its action once all of them watch, and waits for their end."""
    shared = threading.Barrier(len(acts))
    shared.values = {}
    processes = [Process(rank, shared, act) for rank, act in enumerate(acts)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert not process.is_alive()
    for process in processes:
        process.die()
    return processes


def leave(process):
    process.dog.__exit__(None, None, None)


def wait_for_the_end(process):
    assert process.ended.wait(10)


def test_one_process_watches_nobody():
    with Watchdog(ALONE, TIMEOUT_S, Pulse, print) as dog:
        assert dog._peers == {}


def test_processes_that_are_done_are_not_missed(caplog):
    def work_and_leave(process):
        time.sleep(3 * TIMEOUT_S)  # longer than the time-out for silence
        leave(process)

    processes = play(*[work_and_leave] * 3)
    time.sleep(0.3)
    assert [process.status for process in processes] == [None] * 3
    assert not caplog.records


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_death_ends_the_others_with_the_rank_and_the_step(rank, caplog):
    def die_soon(process):
        time.sleep(2.5 * module.LONGEST_BEAT_S * TIMEOUT_S / 4)  # a few heartbeats, so that its step is known
        process.die()

    acts = [wait_for_the_end] * 3
    acts[rank] = die_soon
    processes = play(*acts)
    assert [process.status for process in processes] == [None if r == rank else 1 for r in range(3)]
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert f"rank {rank}: its process has ended, after step {10 * (rank + 1)} or in the next one; the job" in said[0]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(("error", "status"), [(UsageError("--a 1"), 2), (RunError("b"), 1), (KeyError("c"), 1)])
def test_an_error_of_one_ends_the_others_with_its_status_and_without_a_word(rank, error, status, caplog):
    def fail(process):
        process.dog.__exit__(type(error), error, None)

    acts = [wait_for_the_end] * 3
    acts[rank] = fail
    processes = play(*acts)
    assert [process.status for process in processes] == [None if r == rank else status for r in range(3)]
    assert not caplog.records


@pytest.mark.parametrize("rank", [0, 1])
def test_a_silence_ends_the_others_after_the_time_out(rank, caplog, monkeypatch):
    genuine = Watchdog._send

    def mute(self, peer, message):
        if self._rank != rank:
            genuine(self, peer, message)

    def watch(process):
        if process.dog._rank != rank:
            wait_for_the_end(process)

    def silence(process):
        monkeypatch.setattr(Watchdog, "_send", mute)
        watch(process)

    began = time.monotonic()
    play(silence, silence)
    assert time.monotonic() - began < 10 * TIMEOUT_S
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert any(f"rank {rank}: no sign of life for 1 s (--stall_timeout_s), after step" in text for text in said)


def test_a_signal_to_one_reaches_all():
    def asked(process):
        process.pulse = Pulse(step=3, stop="SIGTERM")
        time.sleep(1.5)
        leave(process)

    def told(process):
        time.sleep(1.5)
        leave(process)

    processes = play(told, asked, told)
    assert {"SIGTERM"} == set(processes[0].heard) == set(processes[2].heard)


def test_processes_that_cannot_reach_each_other_go_on_unwatched_and_say_so(caplog, monkeypatch):
    def refuse(*arguments, **options):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(module.socket, "create_connection", refuse)
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.2)
    processes = play(leave, leave)
    assert [process.status for process in processes] == [None, None]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "the processes cannot watch each other, so nothing notices a frozen one: rank 0: " in record.getMessage()
