"""The steps in a trace, and the warnings if it cannot be written."""

import gzip
import json
import logging

import pytest
import tensorflow as tf

from tests.utils.hooks.steps import step
from utils.hooks.profile import ProfileHook

tf1 = tf.compat.v1


def loop(hook, steps):
    """Steps of one matrix product each."""
    with tf.Graph().as_default() as graph:
        x = tf.random.uniform([200, 200])  # operations that cost next to nothing are not traced
        product = tf.matmul(x, x, name="net/product")
    with tf1.Session(graph=graph) as session:
        hook.begin(steps[0] - 1, None)
        for number in steps:
            session.run(product.op)
            hook.after_step(step(number))
        hook.end()


def traced(folder):
    """The name of the trace, the numbers of its steps, and the count of products."""
    (path,) = folder.glob("trace-*")
    events = [e for e in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"] if e["ph"] == "X"]
    numbers = [event["args"]["step_num"] for event in events if event["name"] == "train"]
    return path.name, numbers, sum(event["name"] == "net/product" for event in events)


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


def test_the_steps_asked_for_are_traced(tmp_path, said):
    hook = ProfileHook((3, 4), tmp_path, "train")
    loop(hook, range(1, 7))
    hook.close()
    assert traced(tmp_path) == ("trace-3-4.json.gz", [3, 4], 2)
    ((level, sentence),) = said()
    assert level == "INFO"
    assert sentence.startswith(f"trace of steps 3 to 4: {tmp_path}/trace-3-4.json.gz; open it in chrome://tracing")
    assert len([*tmp_path.glob("plugins/profile/*/*.xplane.pb")]) == 1


def test_a_trace_may_begin_with_the_first_step_and_have_one(tmp_path):
    loop(ProfileHook((1, 1), tmp_path, "train"), range(1, 3))
    assert traced(tmp_path) == ("trace-1-1.json.gz", [1], 1)


def test_a_trace_ends_with_the_loop(tmp_path, said):
    hook = ProfileHook((3, 9), tmp_path, "train")
    loop(hook, range(1, 5))
    loop(hook, range(5, 12))  # after an evaluation
    hook.close()
    assert traced(tmp_path) == ("trace-3-4.json.gz", [3, 4], 2)
    assert said()[1] == (
        "WARNING",
        "--profile 3,9: the loop began or ended within these steps; the others are not traced",
    )


def test_a_pause_just_before_the_first_step_does_not_count(tmp_path, said):
    hook = ProfileHook((5, 6), tmp_path, "train")
    loop(hook, range(1, 5))
    loop(hook, range(5, 9))
    hook.close()
    assert traced(tmp_path) == ("trace-5-6.json.gz", [5, 6], 2)
    assert [level for level, _ in said()] == ["INFO"]


def test_a_resumed_launch_traces_what_is_left(tmp_path, said):
    loop(ProfileHook((3, 6), tmp_path, "train"), range(5, 9))
    assert traced(tmp_path)[:2] == ("trace-5-6.json.gz", [5, 6])
    assert "WARNING" in {level for level, _ in said()}


def test_a_skipped_step_is_repeated_under_its_number(tmp_path):
    loop(ProfileHook((3, 4), tmp_path, "train"), [1, 2, 2, 3, 3, 4, 5])
    assert traced(tmp_path) == ("trace-3-4.json.gz", [3, 3, 4, 4], 4)


def test_steps_that_do_not_come_are_told(tmp_path, said):
    hook = ProfileHook((3, 4), tmp_path, "train")
    loop(hook, range(5, 7))
    hook.close()
    assert [*tmp_path.iterdir()] == []
    assert said() == [("WARNING", "--profile 3,4: none of these steps ran in this launch, so there is no trace")]


def test_a_folder_that_takes_no_trace_is_said_and_ends_no_run(tmp_path, said):
    (tmp_path / "file").touch()
    hook = ProfileHook((1, 2), tmp_path / "file", "train")
    loop(hook, range(1, 5))
    hook.close()
    ((level, sentence),) = said()
    assert level == "WARNING"
    assert sentence.startswith(f"{tmp_path}/file: the trace cannot be written (")


def test_another_profiler_is_left_alone(tmp_path, said):
    hook = ProfileHook((1, 2), tmp_path / "mine", "train")
    with tf.profiler.experimental.Profile(str(tmp_path / "other")):
        loop(hook, range(1, 5))
    hook.close()
    assert not (tmp_path / "mine").exists()
    assert "Another profiler is running" in said()[0][1]
