"""Processes that watch each other, simulated by threads: a death, a silence and a signal count, a normal end not."""

import itertools
import logging
import os
import socket
import threading
import time

import pytest

from tests.runtime.processes import ALONE, Pretended
from utils.local_communicator import Place
from utils.system import watchdog as module
from utils.system.meeting import local_listener
from utils.system.watchdog import Watchdog, Watched

TIMEOUT_S = 1.0
JOBS = itertools.count()


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
    """A process of a run: its action, the signals it heard, and the exit status from its watchdog.

    The processes are on ``machines`` machines, which start equally many.
    """

    def __init__(self, rank, shared, act, machines=1):
        super().__init__(daemon=True)
        self.heard, self.ended = [], threading.Event()
        self.signal = self.status = None
        self.in_step_s = 0.0
        self._communicator = Joined(rank, shared)
        local_size = shared.parties // machines
        machine, local_rank = divmod(rank, local_size)
        job = f"{os.getpid()}-{shared.job}-{machine}"
        place = Place(rank, shared.parties, local_rank, local_size, job)
        self.dog = Watchdog(place, TIMEOUT_S, Watched(lambda: self.signal, self.heard.append, self._end))
        self._act, self._step = act, 10 * (rank + 1)

    def _end(self, status):
        self.status = status
        self.ended.set()

    def run(self):
        self.dog.__enter__()
        self.dog.join(self._communicator, lambda: self._step, lambda: self.in_step_s)
        while self.dog._awaited():
            time.sleep(0.01)
        self._communicator.barrier()
        self._act(self)

    def die(self):
        """Leaves like a killed process: its connections close without a message."""
        self.dog._close()


def play(*acts, machines=1):
    """Runs processes, each with its action once all of them watch, and waits for their end."""
    shared = threading.Barrier(len(acts))
    shared.values, shared.job = {}, next(JOBS)
    processes = [Process(rank, shared, act, machines) for rank, act in enumerate(acts)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert not process.is_alive()
    for process in processes:
        process.die()
    return processes


def leave(process):
    process._communicator.barrier()
    process.dog.leave(0)


def wait_for_the_end(process):
    assert process.ended.wait(10)


def test_one_process_watches_nobody():
    with Watchdog(None, TIMEOUT_S, Watched(lambda: None, print)) as dog:
        dog.join(ALONE, int, float)
        assert dog._threads == []


def test_processes_that_are_done_are_not_missed(caplog):
    def work_and_leave(process):
        time.sleep(3 * TIMEOUT_S)  # longer than the time-out for silence
        leave(process)

    processes = play(*[work_and_leave] * 3)
    time.sleep(0.3)
    assert [process.status for process in processes] == [None] * 3
    assert not caplog.records


@pytest.mark.parametrize(("rank", "machines"), [(0, 1), (1, 1), (2, 1), (0, 3), (2, 3)])
def test_a_death_ends_the_others_with_the_rank_and_the_step(rank, machines, caplog):
    def die_soon(process):
        time.sleep(2.5 * module.LONGEST_BEAT_S * TIMEOUT_S / 4)  # a few heartbeats, so that its step is known
        process.die()

    acts = [wait_for_the_end] * 3
    acts[rank] = die_soon
    processes = play(*acts, machines=machines)
    assert [process.status for process in processes] == [None if r == rank else 1 for r in range(3)]
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert f"rank {rank}: its process has ended, after step {10 * (rank + 1)} or in the next one; the job" in said[0]


@pytest.mark.parametrize("status", [1, 2])
@pytest.mark.parametrize("rank", [0, 3])
def test_a_failure_of_one_ends_the_others_with_its_status_and_without_a_word(rank, status, caplog):
    acts = [wait_for_the_end] * 4
    acts[rank] = lambda process: process.dog.leave(status)
    processes = play(*acts, machines=2)
    assert [process.status for process in processes] == [None if r == rank else status for r in range(4)]
    assert not caplog.records


@pytest.mark.parametrize("rank", [0, 1])
def test_a_silence_ends_the_others_after_the_time_out(rank, caplog, monkeypatch):
    genuine = Watchdog._send_all

    def mute(self, message):
        if self._rank != rank:
            genuine(self, message)

    def silence(process):
        time.sleep(TIMEOUT_S / 2)  # a heartbeat or two, which tell the step
        monkeypatch.setattr(Watchdog, "_send_all", mute)
        if process.dog._rank != rank:
            wait_for_the_end(process)

    began = time.monotonic()
    play(silence, silence)
    assert time.monotonic() - began < 10 * TIMEOUT_S
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert any(f"rank {rank}: no sign of life for 1 s (--stall_timeout_s), after step" in text for text in said)


@pytest.mark.parametrize("machines", [1, 2])
def test_a_step_that_no_process_finishes_ends_all(machines, caplog):
    def hang(process):
        process.in_step_s = module.LONGEST_STEP * TIMEOUT_S + 1
        wait_for_the_end(process)

    processes = play(*[hang] * 4, machines=machines)
    assert [process.status for process in processes] == [1] * 4
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(
        "step 11: no process has finished it within 20 s (20 times --stall_timeout_s), so an exchange"
    )


@pytest.mark.parametrize("busy", [0, 1])
def test_a_step_may_take_long_while_one_process_does_something_else(busy, caplog):
    def wait_in_step(process):
        process.in_step_s = 0.0 if process._communicator.rank == busy else 1e6
        time.sleep(1.5 * TIMEOUT_S)
        leave(process)

    assert [process.status for process in play(wait_in_step, wait_in_step)] == [None] * 2
    assert not caplog.records


@pytest.mark.parametrize("machines", [1, 2])
def test_a_signal_to_one_reaches_all(machines):
    def asked(process):
        process.signal = "SIGTERM"
        time.sleep(1.5)
        leave(process)

    def told(process):
        time.sleep(1.5)
        leave(process)

    processes = play(told, told, told, asked, machines=machines)
    assert [set(process.heard) for process in processes[:3]] == [{"SIGTERM"}] * 3


def test_machines_that_cannot_reach_each_other_go_on_and_say_so(caplog, monkeypatch):
    def refuse(*arguments, **options):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.2)
    processes = play(*[leave] * 4, machines=2)
    assert [process.status for process in processes] == [None] * 4
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    said = "the processes of different machines cannot watch each other, so nothing notices a frozen one: no connection"
    assert record.getMessage() == f"{said} from the machines of ranks [2]"


def test_an_address_that_is_taken_ends_the_process_with_a_sentence(caplog, tmp_path):
    ended = []
    place = Place(0, 2, 0, 2, str(tmp_path))
    with local_listener(place.job), Watchdog(place, TIMEOUT_S, Watched(lambda: None, print, ended.append)):
        pass
    assert ended == [1]
    assert "rank 0: the processes of this machine cannot meet: Address already in use; the job" in caplog.text


def test_a_process_that_does_not_come_ends_the_others(caplog, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "MEETING_S", 1.0)
    for rank in (0, 1):
        ended = threading.Event()
        place = Place(rank, 2, rank, 2, f"{tmp_path}-{rank}")
        with Watchdog(place, TIMEOUT_S, Watched(lambda: None, print, lambda status, ended=ended: ended.set())):
            assert ended.wait(5)
        assert f"rank {1 - rank}: has not started within 1 s (--stall_timeout_s); the job ends" in caplog.text
