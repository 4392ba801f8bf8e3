"""The contents and times of log records, and their epochs."""

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.hooks.steps import step
from utils.dllogger_utils import Logger, read_log
from utils.hooks.logs import BenchmarkLogHook, SummaryHook, TrainingLogHook
from utils.reporting.event_file import write_event


@pytest.fixture
def log(tmp_path):
    """A logger and its records so far as (step, data) pairs."""
    path = tmp_path / "log.json"
    logger = Logger(path, None)
    logger.records = lambda: [(tuple(record["step"]), record["data"]) for record in read_log(path)]
    yield logger
    logger.close()


def training(log, numbers, *, every=1, steps_per_epoch=4, start=0):
    hook = TrainingLogHook(log, every=every, steps_per_epoch=steps_per_epoch, global_batch=8)
    hook.begin(start, None)
    for number in numbers:
        hook.after_step(step(number, seconds=2.0, wait_seconds=0.5, total_loss=np.float32(number), status=np.zeros(8)))
    return log.records()


def test_a_step_belongs_to_the_epoch_that_it_was_trained_in(log):
    assert [where for where, _ in training(log, range(1, 10))] == [
        *[(0, 1), (0, 2), (0, 3), (0, 4), (0,)],
        *[(1, 5), (1, 6), (1, 7), (1, 8), (1,), (2, 9)],
    ]


def test_each_nth_step_and_each_end_of_an_epoch_is_logged(log):
    assert [where for where, _ in training(log, range(1, 10), every=3)] == [(0, 3), (0,), (1, 6), (1,), (2, 9)]


def test_an_epochs_record_holds_its_last_step_without_the_speed(log):
    records = training(log, range(1, 5), every=2)
    assert records == [
        ((0, 2), {"imgs_per_sec": 4.0, "input_wait_share": 0.25, "total_loss": 2.0}),
        ((0, 4), {"imgs_per_sec": 4.0, "input_wait_share": 0.25, "total_loss": 4.0}),
        ((0,), {"total_loss": 4.0}),
    ]


def test_further_values_are_asked_for_at_each_record(log):
    further = iter([{"first": 1.0}, {}, {"third": 3.0}])
    hook = TrainingLogHook(log, every=2, steps_per_epoch=3, global_batch=8, more=lambda: next(further))
    for number in range(1, 5):
        hook.after_step(step(number))
    assert [set(data) - {"imgs_per_sec", "input_wait_share"} for _, data in log.records()] == [
        *({"first"}, set(), {"third"})
    ]


def test_the_speed_is_that_since_the_last_record(log):
    hook = TrainingLogHook(log, every=2, steps_per_epoch=100, global_batch=6)
    for number, seconds in enumerate((1.0, 2.0, 5.0, 7.0), start=1):
        hook.after_step(step(number, seconds=seconds))
    assert [data["imgs_per_sec"] for _, data in log.records()] == [4.0, 1.0]


def test_a_skipped_step_is_not_logged_again_but_costs_speed(log):
    records = training(log, [1, 2, 2, 2, 3, 4], every=2)
    assert [where for where, _ in records] == [(0, 2), (0, 4), (0,)]
    assert records[1][1]["imgs_per_sec"] == 4.0  # 4 batches of 8 in 8 s


def test_the_step_of_a_checkpoint_is_not_logged_by_the_launch_that_resumes_it(log):
    assert [where for where, _ in training(log, [4, 5], start=4)] == [(1, 5)]  # its first batch was skipped


def test_benchmarks_log_batches_after_the_warmup(log):
    hook = BenchmarkLogHook(log, every=2, batch_size=8, warmup_batches=3)
    for number, seconds in enumerate((50.0, 50.0, 50.0, 4.0, 1.0, 3.0, 2.0), start=1):
        hook.after_step(step(number, seconds=seconds, wait_seconds=1.0))
    assert log.records() == [
        ((0, 4), {"total_ips": 2.0, "input_wait_share": 0.25}),
        ((0, 6), {"total_ips": 4.0, "input_wait_share": 0.5}),
    ]


def test_benchmarks_without_warmup_log_from_the_first_batch(log):
    hook = BenchmarkLogHook(log, every=1, batch_size=8, warmup_batches=0)
    hook.after_step(step(1, seconds=4.0))
    assert log.records() == [((0, 1), {"total_ips": 2.0, "input_wait_share": 0.0})]


def events(folder):
    points = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            points += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
    return points


def test_tensorboard_gets_the_scalars_of_each_nth_step(tmp_path):
    hook = SummaryHook(tmp_path, 2)
    for number in range(1, 5):
        hook.after_step(step(number, total_loss=np.float32(number / 2), index=np.arange(3)))
    hook.end()
    assert events(tmp_path) == [(2, "total_loss", 1.0), (4, "total_loss", 2.0)]  # on disk before close
    hook.close()


def test_tensorboard_gets_one_point_of_each_metric_of_an_evaluation(tmp_path):
    write_event(tmp_path / "eval", 7, {"top1_accuracy": 0.5, "images": 10})
    assert events(tmp_path / "eval") == [(7, "top1_accuracy", 0.5), (7, "images", 10.0)]


def test_a_folder_that_takes_no_events_is_said_once_and_ends_no_run(tmp_path, caplog):
    (tmp_path / "file").touch()
    hook = SummaryHook(tmp_path / "file", 1)
    for number in range(3):
        hook.after_step(step(number, total_loss=np.float32(1)))
    hook.end()
    hook.close()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{tmp_path}/file: events for TensorBoard cannot be written (")
    write_event(tmp_path / "file", 1, {"loss": 1.0})


def test_a_disk_that_fills_up_ends_the_events_and_no_run(tmp_path, caplog, monkeypatch):
    hook = SummaryHook(tmp_path, 1)

    def refuse():
        raise RuntimeError(f"{tmp_path}/events; No space left on device\n\tFailed to flush 3 events")

    monkeypatch.setattr(hook._events._writer, "flush", refuse)
    hook.after_step(step(1, total_loss=np.float32(1)))
    hook.end()
    hook.after_step(step(2, total_loss=np.float32(1)))
    hook.end()
    (message,) = caplog.messages
    assert "(" + f"{tmp_path}/events; No space left on device); continuing without" in message
