"""Streams of programs take plain text, and Ctrl-C does what the work under way allows."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text

from tests.conftest import ROOT
from tools.command import run_command
from utils.console.pipes import go_on_without
from utils.console.tables import pairs
from utils.console.terminal import RichTerminal, console_of
from utils.dllogger_utils import DllScreen
from utils.program import PlainText, canvas, interrupts_kill, interrupts_raise

HOSTILE = "a\x1b]0;owned\x07b\x1b[2J\x9b31mc\rd\x7fe\x00\tf\n"
SHOWN = "a\\x1b]0;owned\\x07b\\x1b[2J\\x9b31mc\\rd\\x7fe\\x00\tf\n"


class Terminal(io.BytesIO):
    def isatty(self):
        return True


@pytest.fixture
def stream():
    return PlainText(Terminal(), "utf-8", "backslashreplace", newline="\n")


def content(stream):
    stream.flush()
    return stream.buffer.getvalue().decode()


def test_plain_text_shows_control_characters_as_escapes_however_it_is_written(stream):
    print(HOSTILE, end="", file=stream)
    stream.writelines([HOSTILE])
    assert content(stream) == 2 * SHOWN


def test_what_draws_on_a_terminal_reaches_it_beneath_the_plain_text(stream):
    canvas(stream).write("\x1b[1m")
    assert content(stream) == "\x1b[1m"
    plain = io.StringIO()
    assert canvas(plain) is plain


def test_rich_draws_its_own_sequences_and_none_of_a_text(stream):
    terminal = RichTerminal(console_of(stream))
    terminal.print(Text(HOSTILE.strip(), style="bold"))
    terminal.print(pairs([(HOSTILE, HOSTILE)]))
    assert "\x1b[1m" in content(stream)
    for sequence in ("\x1b]0;", "\x1b[2J", "\x9b", "\x07", "\r", "\x7f"):
        assert sequence not in content(stream)


def test_a_record_is_one_line_whatever_its_values_hold(capsys):
    DllScreen(sys.stdout).record((1, 2), {"data_dir": "a\nDLL 2026 - (9, 9) loss : 0 \x1b[2J"}, {})
    assert capsys.readouterr().out.count("\n") == 1


def test_a_run_goes_on_without_a_reader_and_says_so_once(caplog):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        screen = DllScreen(stream)
        for step in range(3):
            screen.record((0, step), {"loss": 1.0}, {})
    assert [record.getMessage() for record in caplog.records] == [
        "the console takes no more (Broken pipe); the run continues, and its log file has every record"
    ]


def test_a_run_goes_on_where_the_console_is_a_full_disk(caplog):
    with Path("/dev/full").open("w") as stream:
        DllScreen(stream).record((0, 1), {"loss": 1.0}, {})
    assert "the console takes no more (No space left on device); the run continues" in caplog.text


def test_a_drawn_console_goes_on_without_a_reader(caplog):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        terminal = RichTerminal(console_of(stream))
        for _ in range(3):
            terminal.print("text")
    assert len(caplog.records) == 1
    assert go_on_without.__name__ in caplog.records[0].funcName


@pytest.fixture
def _ctrl_c():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c")
@pytest.mark.parametrize(
    ("handler", "raising", "killing"),
    [
        (signal.SIG_DFL, signal.default_int_handler, signal.SIG_DFL),
        (signal.SIG_IGN, signal.SIG_IGN, signal.SIG_IGN),
        (print, print, signal.SIG_DFL),
    ],
)
def test_ctrl_c_is_handled_for_a_block_and_then_as_before(handler, raising, killing):
    signal.signal(signal.SIGINT, handler)
    for block, expected in ((interrupts_raise(), raising), (interrupts_kill(), killing)):
        with block:
            assert signal.getsignal(signal.SIGINT) is expected
        assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.usefixtures("_ctrl_c")
def test_ctrl_c_during_the_work_of_a_command_is_a_sentence(capsys):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    assert run_command(lambda: os.kill(os.getpid(), signal.SIGINT), interrupted="all is kept") == 75
    assert capsys.readouterr().err == "interrupted: all is kept\n"


def test_a_program_searches_for_garbage_rarely_and_not_at_its_end():
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 1000))\n"
        "from utils.program import begin; begin()\n"
        "searches = []; gc.callbacks.append(lambda phase, info: searches.append(phase))\n"
        "kept = [[] for _ in range(40_000)]; print(len(searches) // 2)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "0\nTrue\n"
