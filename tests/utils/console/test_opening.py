"""The screen of a launch depends on --console, on its streams, and on its launcher."""

import io
import logging
import sys

import pytest

from tests.utils.console.terminals import Terminal
from utils.console.opening import open_screen
from utils.console.screen import Bar, Screen
from utils.dllogger_utils import DllScreen
from utils.hvd_utils import LAUNCHER_SIZES


class Opened:
    """A screen with the streams behind it."""

    def __init__(self, choice, out, error, environ):
        self.out, self.error = out, error
        self.screen = open_screen(choice, environ)

    @property
    def has_bar(self):
        bar = self.screen.bar("train", 0, 10)
        bar.close()
        return type(bar) is not Bar

    def message(self):
        self.screen.handler().emit(logging.LogRecord("main", logging.WARNING, __file__, 1, "beware", None, None))


@pytest.fixture
def opened(monkeypatch, tmp_path):
    monkeypatch.setenv("TERM", "xterm")
    files = []

    def stream(kind):
        if kind == "file":
            files.append((tmp_path / f"out{len(files)}").open("w+"))
            return files[-1]
        return Terminal() if kind == "terminal" else io.StringIO()

    def do(choice, out, error, environ=()):
        streams = stream(out), stream(error)
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        return Opened(choice, *streams, dict(environ))

    yield do
    for file in files:
        file.close()


@pytest.mark.parametrize(
    ("choice", "out", "error", "is_readable", "has_bar"),
    [
        ("auto", "terminal", "terminal", True, True),
        ("auto", "terminal", "file", True, True),
        ("auto", "pipe", "terminal", False, False),  # through tee
        ("auto", "file", "terminal", False, True),
        ("auto", "file", "file", False, False),
        ("auto", "pipe", "pipe", False, False),
        ("dllogger", "terminal", "terminal", False, False),
        ("dllogger", "file", "terminal", False, False),
        ("readable", "pipe", "pipe", True, False),
        ("readable", "file", "terminal", True, True),
        ("readable", "pipe", "terminal", True, False),
    ],
)
def test_a_screen_fits_its_streams(opened, choice, out, error, is_readable, has_bar):
    found = opened(choice, out, error)
    assert isinstance(found.screen, DllScreen) != is_readable
    assert found.screen.is_readable == is_readable
    assert found.has_bar == has_bar


@pytest.mark.parametrize("name", LAUNCHER_SIZES)
def test_the_terminal_of_a_process_that_a_launcher_started_is_not_its_own(opened, name):
    found = opened("auto", "terminal", "terminal", {name: "2"}.items())
    assert isinstance(found.screen, DllScreen)
    assert not found.has_bar
    assert opened("readable", "terminal", "terminal", {name: "2"}.items()).screen.is_readable


@pytest.mark.parametrize(("choice", "out"), [("auto", "pipe"), ("dllogger", "terminal"), ("readable", "pipe")])
def test_messages_that_no_terminal_shows_stay_as_they_are(opened, choice, out):
    found = opened(choice, out, "pipe")
    found.message()
    assert found.error.getvalue() == "WARNING: beware\n"


def test_messages_go_to_standard_error_where_results_do_not_go_to_a_terminal(opened):
    found = opened("auto", "pipe", "terminal")
    found.message()
    assert "beware" in found.error.getvalue()
    assert found.out.getvalue() == ""


def test_lines_are_printed_as_they_are(opened):
    found = opened("auto", "pipe", "pipe")
    found.screen.lines("Evaluation finished.")
    found.screen.table([("a.jpg", "cat 0.5"), ("b.jpg", "dog 0.5")])
    found.screen.header([("Network", "resnet18")])
    found.screen.footer([("log", "RUN/log.json")])
    assert found.out.getvalue() == "Evaluation finished.\na.jpg  cat 0.5\nb.jpg  dog 0.5\n"


def test_a_process_that_does_not_lead_shows_nothing(capsys):
    screen = Screen()
    screen.record((1,), {"loss": 1.0}, {})
    screen.lines("a line")
    screen.table([("a", "b")])
    bar = screen.bar("train", 3, 10)
    bar.update(2)
    bar.close()
    assert bar.done == 5
    assert capsys.readouterr() == ("", "")
