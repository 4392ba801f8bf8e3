"""The loop with a fake session that answers from a list."""

import numpy as np
import pytest
import tensorflow as tf

from runtime.loop import run_loop
from tests.runtime.processes import never_stopping
from utils.hooks.hook import Hook


class Graph:
    def fetches(self):
        return {"anything": None}


class Session:
    """Returns one entry of ``answers`` per call; raises entries that are exceptions."""

    def __init__(self, answers):
        self.answers = list(answers)
        self.calls = 0

    def run(self, fetches):
        assert fetches == {"anything": None}
        answer = self.answers[self.calls] if self.calls < len(self.answers) else {}
        self.calls += 1
        if isinstance(answer, Exception):
            raise answer
        return {"wait_seconds": np.float64(0.25), **answer}


class Recorder(Hook):
    def __init__(self, stop_at=None, fail_at=None):
        self.events = []
        self.records = []
        self._stop_at = stop_at
        self._fail_at = fail_at

    def begin(self, step, last):
        self.events.append(("begin", step, last))

    def after_step(self, record):
        self.events.append(record.step)
        self.records.append(record)
        if record.step == self._fail_at:
            raise RuntimeError("stopped by the test")

    def end(self):
        self.events.append("end")

    @property
    def wants_stop(self):
        return self._stop_at is not None and self._stop_at in self.events


def loop(session, *hooks, start=0, last=None):
    return run_loop(session, Graph(), hooks, start=start, last=last)


def steps(*numbers):
    return [{"step": np.int64(number)} for number in numbers]


def test_the_fetched_step_decides_when_the_loop_ends():
    hook = Recorder()
    assert loop(Session(steps(4, 5, 6, 7)), hook, start=3, last=6) == 6
    assert hook.events == [("begin", 3, 6), 4, 5, 6, "end"]


def test_skipped_steps_are_made_up_for():
    session, hook = Session(steps(1, 1, 2, 2, 2, 3)), Recorder()
    assert loop(session, hook, last=3) == 3
    assert session.calls == 6
    assert hook.events[1:-1] == [1, 1, 2, 2, 2, 3]


def test_batches_are_counted_where_no_step_is_fetched():
    session = Session([{}] * 9)
    assert loop(session, start=2, last=5) == 5
    assert session.calls == 3


def test_the_end_of_the_input_ends_the_loop():
    session = Session([{}, {}, tf.errors.OutOfRangeError(None, None, "End of sequence")])
    hook = Recorder()
    assert loop(session, hook) == 2
    assert hook.events == [("begin", 0, None), 1, 2, "end"]


def test_a_wish_to_stop_ends_the_loop_after_all_hooks_have_seen_the_step():
    first, second = Recorder(stop_at=2), Recorder()
    assert loop(Session(steps(1, 2, 3)), first, second, last=3) == 2
    assert second.events == [("begin", 0, 3), 1, 2, "end"]


def test_a_wish_that_was_there_before_runs_no_batch():
    class Stopped(Hook):
        wants_stop = True

    session = Session(steps(1))
    assert loop(session, Stopped(), start=7, last=9) == 7
    assert session.calls == 0


def test_a_loop_that_has_arrived_runs_no_batch():
    session, hook = Session(steps(1)), Recorder()
    assert loop(session, hook, start=5, last=5) == 5
    assert session.calls == 0
    assert hook.events == [("begin", 5, 5), "end"]


def test_all_hooks_end_when_one_of_them_fails():
    failing, other = Recorder(fail_at=2), Recorder()
    with pytest.raises(RuntimeError, match="stopped by the test"):
        loop(Session(steps(1, 2, 3)), failing, other, last=3)
    assert failing.events[-1] == other.events[-1] == "end"
    assert 2 not in other.events  # hooks after a guard do not see the record that the guard rejected


def test_all_hooks_end_when_the_session_fails():
    hook = Recorder()
    with pytest.raises(tf.errors.DataLossError):
        loop(Session([{}, tf.errors.DataLossError(None, None, "truncated record")]), hook)
    assert hook.events == [("begin", 0, None), 1, "end"]


def test_a_record_holds_the_values_and_not_the_accounting_of_the_loop():
    hook = Recorder()
    loop(Session([{"step": np.int64(1), "loss": np.float32(2.5)}]), hook, last=1)
    (record,) = hook.records
    assert record.values == {"loss": np.float32(2.5)}
    assert record.wait_seconds == 0.25
    assert type(record.step) is int


def test_times_count_the_session_alone_and_the_whole_step(monkeypatch):
    ticks = iter([10.0, 11.0, 14.0, 20.0, 22.0])  # loop begins; run from 11 to 14; hooks until 20; run from 20 to 22
    monkeypatch.setattr("runtime.loop.time.perf_counter", lambda: next(ticks))
    hook = Recorder()
    loop(Session(steps(1, 2)), hook, last=2)
    assert [record.run_seconds for record in hook.records] == [3.0, 2.0]
    assert [record.seconds for record in hook.records] == [4.0, 8.0]


def test_a_process_is_in_a_step_while_its_batch_runs_and_at_no_other_time():
    told = []

    class Telling(Session):
        def run(self, fetches):
            told.append(process.seconds_in_step > 0)
            return super().run(fetches)

    class Saving(Hook):
        def after_step(self, record):
            told.append(process.seconds_in_step > 0)

    process = never_stopping()
    loop(Telling([{}, {}, tf.errors.OutOfRangeError(None, None, "End of sequence")]), process, Saving())
    assert told == [True, False, True, False, True]
    assert process.seconds_in_step == 0
