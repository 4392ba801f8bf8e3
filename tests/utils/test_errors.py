"""Exit statuses, and the line of an error that says what happened."""

import pytest
import tensorflow as tf

from utils import errors
from utils.errors import RunError, UsageError, reason


def test_statuses_are_those_that_scripts_rely_on():
    names = ("EXIT_DONE", "EXIT_FAILED", "EXIT_USAGE", "EXIT_SOME_SKIPPED", "EXIT_PREEMPTED")
    assert [getattr(errors, name) for name in names] == [0, 1, 2, 3, 75]


@pytest.mark.parametrize("kind", [UsageError, RunError])
def test_a_name_with_line_breaks_or_control_characters_stays_on_one_line(kind):
    assert str(kind("a\nb\x1b[2J\udcff: no such file")) == r"a\nb\x1b[2J\udcff: no such file"
    assert str(kind(f"x: {kind('a' + chr(10))}")) == r"x: a\n"  # not escaped twice
    assert str(kind("2 images:", "  a\n.jpg", "  b.jpg")) == "2 images:\n  a\\n.jpg\n  b.jpg"


def test_of_a_plain_error_the_first_line_counts():
    assert reason(OSError(28, "No space left on device")) == "[Errno 28] No space left on device"
    assert reason(ValueError("one\ntwo")) == "one"
    assert reason(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_of_a_graphs_error_the_line_before_the_operation_counts(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        failing = tf.io.write_file(str(tmp_path), "a folder is no file")
        with pytest.raises(tf.errors.OpError, match=r"^Graph execution error:") as raised:
            session.run(failing)
    assert str(tmp_path) in reason(raised.value)
    assert "\n" not in reason(raised.value)


def test_of_an_error_before_the_first_step_too():
    on_a_gpu = tf.compat.v1.ConfigProto(allow_soft_placement=False)
    with tf.Graph().as_default(), tf.device("/GPU:7"), tf.compat.v1.Session(config=on_a_gpu) as session:
        zero = tf.zeros([])
        with pytest.raises(tf.errors.OpError, match=r"^Graph execution error:") as raised:
            session.run(zero)
    assert reason(raised.value).startswith("Cannot assign a device for operation")
