"""Staged batches in the loop, against the same batches without staging."""

import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from runtime.loop import run_loop
from tests.utils.input_records import quick_session
from utils.hooks.hook import Hook
from utils.input.batching import Batch, make_input
from utils.input.staging import BatchesAhead, staged

CPU = "/CPU:0"


def numbered(count, made=lambda number: None):
    """``count`` batches of two rows that show the number of the batch; ``made`` sees each number."""

    def numbers():
        for number in range(count):
            made(number)
            yield number

    def batch(i):
        rows = tf.stack([i, i])
        images = tf.cast(tf.fill([2, 4, 4, 3], i), tf.float32)
        return Batch(images, {"labels": rows, "boxes": tf.fill([2, i, 4], 0.5)}, rows, tf.cast(rows, tf.int64))

    return tf.data.Dataset.from_generator(numbers, output_signature=tf.TensorSpec([], tf.int32)).map(batch)


class Graph:
    """A graph of ``runtime.graphs`` that returns the batches as they are; ``step`` runs with the number of each."""

    def __init__(self, dataset, device=CPU, step=lambda number: None, counted=None):
        self.input = make_input(dataset)
        if device is not None:
            self.input = staged(self.input, device)
        batch = self.input.batch

        def stepped(images):
            step(int(images[0, 0, 0, 0]))
            return images

        images = tf.numpy_function(stepped, [batch.images], tf.float32)
        self.values = {"images": images, **batch.targets, "status": batch.status, "index": batch.index}
        if counted is not None:
            self.values["step"] = tf.gather(counted, batch.status[0])

    def fetches(self):
        return {**self.values, "wait_seconds": self.input.wait_seconds}


class Recorder(Hook):
    def __init__(self, stop_after=None):
        self.records = []
        self._stop_after = stop_after

    def after_step(self, record):
        self.records.append(record)

    @property
    def wants_stop(self):
        return len(self.records) == self._stop_after

    @property
    def numbers(self):
        return [int(record.values["index"][0]) for record in self.records]


class Looping:
    """A graph, and a session in which its input has begun."""

    def __init__(self, session, *arguments, **options):
        self._session, self._graph = session, Graph(*arguments, **options)
        self.ahead = BatchesAhead(session, self._graph.input)
        self.ahead.restart()

    def run(self, hook, start=0, last=None):
        return run_loop(self._session, self._graph, [hook], start=start, last=last, ahead=self.ahead)


@pytest.fixture
def begun():
    """Makes a graph in a session."""
    made = []
    with tf.Graph().as_default(), quick_session() as session:

        def make(*arguments, **options):
            made.append(Looping(session, *arguments, **options))
            return made[-1]

        yield make
        for looping in made:
            looping.ahead.close()


def test_every_batch_comes_whole_once_and_in_order_to_the_last(begun):
    recorders = []
    for device in (CPU, None):
        recorders.append(Recorder())
        assert begun(numbered(5), device).run(recorders[-1]) == 5
    ours, theirs = ([record.values for record in recorder.records] for recorder in recorders)
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("stop_after", [None, 2])
def test_a_loop_goes_on_where_the_one_before_stopped(begun, stop_after):
    """Whether it arrived at its last step or was stopped with another batch staged already."""
    looping = begun(numbered(6))
    first, second = Recorder(stop_after), Recorder()
    assert looping.run(first, last=None if stop_after else 2) == 2
    assert looping.run(second, start=2) == 6
    assert (first.numbers, second.numbers) == ([0, 1], [2, 3, 4, 5])


def test_a_last_step_that_does_not_count_is_made_up_for(begun):
    """As when its gradients overflowed: its successor is staged only then."""
    recorder = Recorder()
    assert begun(numbered(6), counted=[1, 1, 2, 2, 3]).run(recorder, last=3) == 3
    assert recorder.numbers == [0, 1, 2, 3, 4]


def test_an_input_that_begins_anew_forgets_the_batch_that_was_staged(begun):
    looping, again = begun(numbered(4)), Recorder()
    looping.run(Recorder(stop_after=2))
    looping.ahead.restart()
    looping.run(again)
    assert again.numbers == [0, 1, 2, 3]


def test_the_step_before_a_broken_batch_is_completed(begun):
    def made(number):
        if number == 3:
            raise ValueError("batch 3 is broken")

    recorder = Recorder()
    with pytest.raises(tf.errors.InvalidArgumentError, match="batch 3 is broken"):
        begun(numbered(5, made)).run(recorder)
    assert recorder.numbers == [0, 1, 2]


def test_two_sessions_do_not_share_their_batches(begun):
    begun(numbered(4)).run(Recorder(stop_after=2))  # leaves a batch behind
    recorder = Recorder()
    with tf.Graph().as_default(), quick_session() as session:
        other = Looping(session, numbered(3))
        other.run(recorder)
        other.ahead.close()
    assert recorder.numbers == [0, 1, 2]


def test_the_next_batch_is_made_during_a_step(begun):
    made = [threading.Event() for _ in range(4)]

    def step(number):
        assert number == 3 or made[number + 1].wait(20)

    recorder = Recorder()
    begun(numbered(4, lambda number: made[number].set()), step=step).run(recorder)
    assert recorder.numbers == [0, 1, 2, 3]


def median_wait(begun, making, computing):
    recorder = Recorder()
    begun(numbered(6, lambda _: time.sleep(making)), step=lambda _: time.sleep(computing)).run(recorder)
    return np.median([record.wait_seconds for record in recorder.records[1:]])


def test_a_step_waits_only_for_what_does_not_fit_into_the_one_before(begun):
    assert 0.05 < median_wait(begun, 0.15, 0.05) < 0.15
    assert median_wait(begun, 0.0, 0.05) < 0.03


def test_only_images_lie_on_the_device():
    with tf.Graph().as_default() as graph:
        staged(make_input(numbered(3)), "/GPU:0")
        operations = graph.get_operations()
    on_gpu = [operation for operation in operations if "GPU" in operation.device]
    assert {operation.type for operation in on_gpu} - {"NoOp"} == {"Stage", "Unstage", "StageClear"}
    (stage,) = [operation for operation in on_gpu if operation.type == "Stage"]
    assert [tensor.shape.as_list() for tensor in stage.inputs] == [[2, 4, 4, 3]]
