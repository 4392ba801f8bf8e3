"""A bar on terminals, nothing elsewhere."""

import io
import sys

import numpy as np
import pytest

from tests.utils.hooks.steps import step
from utils.hooks.progress import BarFriendlyStream, ProgressHook, console


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def standard_error(monkeypatch):
    """Replaces standard error by a stream, as pytest does between the fixtures and the test."""

    def replace(stream):
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return replace


def show(hook):
    hook.begin(4, 10)
    for number in (5, 6, 6, 7):
        hook.after_step(step(number, total_loss=np.float32(1.23456)))
    hook._bar.refresh()
    hook.end()


def test_a_terminal_sees_steps_loss_and_time_left(standard_error):
    terminal = standard_error(Terminal())
    show(ProgressHook("train", "total_loss"))
    text = terminal.getvalue()
    assert "train:" in text
    assert "7/10" in text
    assert "total_loss=1.235" in text
    assert "<" in text  # tqdm's elapsed<remaining


def test_files_and_pipes_see_nothing(standard_error):
    stream = standard_error(io.StringIO())
    show(ProgressHook("train", "total_loss"))
    assert stream.getvalue() == ""


def test_a_loop_of_unknown_length_has_a_count(standard_error):
    terminal = standard_error(Terminal())
    hook = ProgressHook("predict")
    hook.begin(0, None)
    hook.after_step(step(3))
    hook._bar.refresh()
    hook.end()
    assert "3step" in terminal.getvalue()


def test_an_end_without_a_beginning_is_fine():
    ProgressHook("train").end()


def test_lines_go_above_the_bar_where_there_is_one(standard_error):
    standard_error(Terminal())
    target = io.StringIO()
    friendly = console(target)
    assert isinstance(friendly, BarFriendlyStream)
    assert friendly.write("one line\n") == 9
    friendly.flush()
    assert target.getvalue() == "one line\n"


def test_plain_streams_stay_as_they_are(standard_error):
    standard_error(io.StringIO())
    target = io.StringIO()
    assert console(target) is target
    assert console() is sys.stdout
