"""The bar at the bottom of a terminal, and messages above it."""

import logging
import os
import pty
import sys
import termios
import time

import pytest
from rich.cells import cell_len

from tests.utils.console.terminals import Terminal, recorder, seen
from utils.console.terminal import BarLine, RichTerminal, console_of, message

NARROW_TO_WIDE = (5, 12, 20, 40, 80, 200)


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves by hand."""

    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    found = Clock()
    monkeypatch.setattr(time, "monotonic", found)
    return found


def drawn(line, width, **options):
    console = recorder(width, **options)
    console.print(line)
    return console.file.getvalue().rstrip("\n")


def a_line(done=45, total=100, **state):
    line = BarLine("train", total, done)
    for name, value in {"loss": 2.302585, "left": 75.0, **state}.items():
        setattr(line, name, value)
    return line


@pytest.mark.parametrize("width", NARROW_TO_WIDE)
def test_a_bar_takes_one_line_however_wide_the_terminal_is(width):
    text = drawn(a_line(), width)
    assert "\n" not in text
    assert cell_len(text) < min(width, 80)


def test_a_bar_tells_share_time_left_steps_and_loss():
    text = drawn(a_line(), 80)
    assert text.startswith("train ━")
    assert text.endswith(" 45 %  1:15 left  45/100  loss 2.303")


def test_a_narrow_bar_keeps_the_share_and_the_time_left():
    assert drawn(a_line(), 38).endswith(" 45 %  1:15 left")
    assert drawn(a_line(), 20).split()[-2:] == ["45", "%"]


def test_without_an_end_there_is_a_count_and_no_share():
    text = drawn(a_line(done=3, total=None, seconds=12.0, loss=None), 80)
    assert text.split() == ["train", "3", "steps", "0:12"]


def test_where_letters_are_few_the_bar_is_made_of_them():
    console = recorder(80)
    console.file.encoding = "ascii"
    console.print(a_line())
    assert console.file.getvalue().isascii()


def test_the_time_left_follows_from_the_last_minute(clock):
    console = recorder(is_terminal=True)
    bar = RichTerminal(console).bar("train", 0, 100)
    bar.advance(1)  # the slow first step does not count
    for step in range(2, 52):
        clock.now += 2.0
        bar.advance(step)
    assert "1:38 left" in seen(console.file.getvalue())[-1]  # 49 steps of 2 s
    bar.close()


def test_a_bar_is_drawn_a_few_times_a_second_at_most(clock):
    console = recorder(is_terminal=True)
    bar = RichTerminal(console).bar("train", 0, 10_000)
    for step in range(1, 10_001):
        clock.now += 0.001
        bar.advance(step, 1.0)
    bar.close()
    assert console.file.getvalue().count("train") < 45


def test_the_end_leaves_an_empty_line_and_a_cursor():
    console = recorder(is_terminal=True)
    terminal = RichTerminal(console)
    bar = terminal.bar("train", 0, 10)
    bar.advance(3)
    terminal.print("a line")
    bar.close()
    assert [line for line in seen(console.file.getvalue()) if line] == ["a line"]
    assert "\x1b[?25l" not in console.file.getvalue()  # the cursor was never hidden, so that a kill cannot lose it


@pytest.mark.parametrize(("variable", "left"), [("TMUX", 1), ("XTERM_VERSION", 2)])
def test_a_bar_that_a_narrower_terminal_wrapped_is_erased_where_terminals_wrap(monkeypatch, variable, left):
    for name in ("TMUX", "XTERM_VERSION", "STY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "1")
    console = recorder(100, is_terminal=True)
    terminal = RichTerminal(console)
    bar = terminal.bar("train", 0, 10)
    console.file.seek(0)
    console.file.truncate()
    console.file.write("\n".join(["", "a" * 60, "b" * 19]))  # what the bar has become at 60 columns
    console.width = 60
    terminal.print("a line")
    lines = [line for line in seen(console.file.getvalue()) if line]
    assert lines[-2] == "a line"
    assert len(lines) == 1 + left
    bar.close()


def test_a_dumb_terminal_gets_lines_alone(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    terminal = RichTerminal(console_of(stream))
    bar = terminal.bar("train", 0, 10)
    bar.advance(3)
    terminal.print("a line")
    bar.close()
    assert stream.getvalue() == "a line\n"
    assert bar.done == 3


def test_no_color_means_no_color(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    RichTerminal(console_of(stream)).print(message("WARNING", "WARNING: beware"))
    assert "33m" not in stream.getvalue()
    assert "beware" in stream.getvalue()


def test_a_terminal_has_its_own_width_even_if_dumb(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    main, other = pty.openpty()
    try:
        termios.tcsetwinsize(other, (24, 40))
        with os.fdopen(os.dup(other), "w") as stream:
            assert console_of(stream).width == 40
    finally:
        os.close(main)
        os.close(other)


def logged(console, level, text):
    terminal = RichTerminal(console)
    bar = terminal.bar("train", 0, 10)
    handler = terminal.handler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.emit(logging.LogRecord("main", level, __file__, 1, text, None, None))
    return bar


def test_a_message_is_above_the_bar():
    console = recorder(is_terminal=True)
    logged(console, logging.WARNING, "a sentence").advance(1)
    lines = [line for line in seen(console.file.getvalue()) if line]
    assert lines[0] == "WARNING: a sentence"
    assert lines[1].startswith("train ")


def test_the_sentence_that_ends_a_run_takes_the_bar_away_and_comes_last():
    console = recorder(is_terminal=True)
    bar = logged(console, logging.CRITICAL, "the disk is full")
    bar.advance(2)
    bar.close()
    assert [line for line in seen(console.file.getvalue()) if line] == ["CRITICAL: the disk is full"]


def test_a_long_message_is_wrapped_by_words_behind_its_level():
    lines = drawn(message("WARNING", "WARNING: " + "word " * 40), 40).splitlines()
    assert all(cell_len(line) <= 40 for line in lines)
    assert {line[:9] for line in lines[1:]} == {" " * 9}
    assert set(" ".join(lines).split()) == {"WARNING:", "word"}


def test_information_has_no_level_and_keeps_its_lines():
    assert drawn(message("INFO", "INFO: W:\n    102  loaded"), 80).splitlines() == ["W:", "    102  loaded"]


def test_the_rows_of_a_table_in_a_message_are_cut_where_the_terminal_ends():
    for level in ("INFO", "WARNING"):
        rows = drawn(message(level, f"{level}: W:\n    102  loaded  {'a' * 99}\n      2  new"), 40).splitlines()
        assert len(rows) == 3
        assert all(cell_len(row.rstrip()) <= 40 for row in rows)
        assert [row.split()[0] for row in rows[1:]] == ["102", "2"]


def test_a_message_cannot_speak_to_the_terminal():
    text = drawn(message("WARNING", "WARNING: a\x1b]0;title\x07[bold]b[/bold]"), 80)
    assert text.rstrip() == r"WARNING: a\x1b]0;title\x07[bold]b[/bold]"


def test_what_others_print_goes_above_the_bar(monkeypatch):
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", stream)
    bar = RichTerminal(console_of(stream)).bar("train", 0, 10)
    print("from elsewhere")
    bar.close()
    assert sys.stdout is stream
    assert [line for line in seen(stream.getvalue()) if line] == ["from elsewhere"]
