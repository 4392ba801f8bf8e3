"""A terminal with a progress bar at the bottom, and output and log messages above it (no TF)."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import ControlType, Segment
from rich.table import Table
from rich.text import Text

from utils.console.figures import duration, significant
from utils.console.pipes import go_on_without
from utils.console.screen import Bar
from utils.program import canvas, plain
from utils.text import printable

SECONDS_BETWEEN_DRAWS = 0.25
SECONDS_OF_RATE = 60.0  # the speed of the last minute gives the time left
WIDEST_BAR = 79  # so that most terminals that become narrower need not wrap it
NARROWEST_BAR = 8
_UNKNOWN_SIZE = os.terminal_size((80, 25))
_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}


class PlainConsole(Console):
    """A console that shows control characters in texts as escapes.

    It never hides the cursor: a killed process could not restore it.
    """

    def show_cursor(self, show: bool = True) -> bool:
        return False

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Renders texts with their control characters as escapes; other sequences are Rich's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))

    def on_broken_pipe(self) -> None:
        """Goes on without the console."""
        go_on_without(self.file, "Broken pipe")


def console_of(stream: TextIO) -> Console:
    """A console for a stream, with the colors and width of its terminal, or plain text without one."""
    is_terminal = stream.isatty()
    dumb = is_terminal and os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    width, height = _size(stream) if dumb else (None, None)
    return PlainConsole(
        file=canvas(stream),
        force_terminal=is_terminal,
        width=width,
        height=height,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of a dumb terminal; Rich assumes 80 columns for these."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except OSError:
        size = _UNKNOWN_SIZE
    return size.columns or _UNKNOWN_SIZE.columns, size.lines or _UNKNOWN_SIZE.lines


def _wraps_again() -> bool:
    """Returns whether this terminal rewraps lines when its width changes; xterm and GNU screen cut them off."""
    cuts = "XTERM_VERSION" in os.environ or ("STY" in os.environ and "TMUX" not in os.environ)
    return not cuts


class RichTerminal:
    """A console with a progress bar and log messages.

    Args:
        console: The console to draw on.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._ends_blank = True
        self._bar: _LiveBar | None = None

    def print(self, renderable: RenderableType, *, wrap: bool = True) -> None:
        """Prints above the bar; without ``wrap``, the terminal wraps long lines, so that they can be copied."""
        with self.console:
            if self._bar is not None:
                self._bar.mend()
            self.console.print(renderable, soft_wrap=not wrap)
        self._ends_blank = False

    def gap(self) -> None:
        """Prints an empty line, unless the output is empty or already ends in one."""
        if not self._ends_blank:
            self.print("")
        self._ends_blank = True

    def bar(self, what: str, start: int, total: int | None) -> Bar:
        """Replaces the current bar by a new one."""
        self.clear()
        if not self.console.is_interactive:
            return Bar(start)
        self._bar = _LiveBar(self.console, what, start, total)
        return self._bar

    def clear(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def handler(self) -> logging.Handler:
        return _MessageHandler(self)


class BarLine:
    """The line of a progress bar, shortened to the width of the terminal.

    Attributes:
        what: The name of the loop.
        total: The last step, or None.
        done: The latest step.
        loss: The latest loss, or None.
        seconds: Time since the first step.
        cells: Columns of the line when it was last drawn.
        left: Estimated seconds to the last step, or None.
    """

    def __init__(self, what: str, total: int | None, done: int) -> None:
        self.what = what
        self.total = total
        self.done = done
        self.loss: float | None = None
        self.seconds = 0.0
        self.cells = 0
        self.left: float | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width - 1, WIDEST_BAR)
        figures = next((text for text in self._figures() if self._room(width, text) >= NARROWEST_BAR), None)
        self.cells = width
        if figures is None:
            yield Segment(self._figures()[-1][:width])
            return
        yield Segment(f"{self.what} ")
        if self.total is None:
            self.cells = len(self.what) + len(figures) + 2
        else:
            yield from console.render(self._bar(self.total, self._room(width, figures)), options)
        yield Segment(f" {figures}")

    def _bar(self, total: int, width: int) -> ProgressBar:
        return ProgressBar(
            max(total, 1),
            self.done,
            width=width,
            style="bright_black",  # one of the terminal's own colors, which suit its background
            complete_style="cyan",
            finished_style="green",
        )

    def _room(self, width: int, figures: str) -> int:
        return width - len(self.what) - len(figures) - 2

    def _figures(self) -> list[str]:
        """The figures beside the bar, the longest version first."""
        loss = [] if self.loss is None else [f"loss {significant(self.loss)}"]
        if self.total is None:
            return _shorter([f"{self.done:,} steps", duration(self.seconds), *loss])
        left = "-:--" if self.left is None else duration(self.left)
        share = f"{100 * self.done // max(self.total, 1):3d} %"
        return _shorter([share, f"{left} left", f"{self.done:,}/{self.total:,}", *loss])


def _shorter(parts: list[str]) -> list[str]:
    """The parts joined on one line, then without the last one, without the last two and so on."""
    return ["  ".join(parts[:count]) for count in range(len(parts), 0, -1)]


class DrawnBar(Bar):
    """A bar that redraws when it hears of progress, but only a few times per second; it needs no thread.

    Attributes:
        line: The drawn line.
    """

    def __init__(self, what: str, start: int, total: int | None) -> None:
        super().__init__(start)
        self.line = BarLine(what, total, start)
        self._began = self._drawn = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque()

    def advance(self, done: int, loss: float | None = None) -> None:
        self.done = done
        now = time.monotonic()
        if not self._seen:
            self._began = now  # the slow first step does not count
        elif now - self._drawn < SECONDS_BETWEEN_DRAWS and done != self.line.total:
            return
        self._drawn = now
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > SECONDS_OF_RATE:
            self._seen.popleft()
        self.line.done, self.line.loss, self.line.seconds = done, loss, now - self._began
        self.line.left = self._seconds_left()
        self.draw()

    def draw(self) -> None:
        """Draws the line."""

    def _seconds_left(self) -> float | None:
        (began, first), (now, latest) = self._seen[0], self._seen[-1]
        if self.line.total is None or latest <= first:
            return None
        return (self.line.total - latest) * (now - began) / (latest - first)


class _LiveBar(DrawnBar):
    """A bar at the bottom of a terminal."""

    def __init__(self, console: Console, what: str, start: int, total: int | None) -> None:
        super().__init__(what, start, total)
        self._console = console
        self._narrowed = False
        self._live = Live(
            self.line,
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
        )
        self._live.start(refresh=True)

    def draw(self) -> None:
        narrowed, self._narrowed = self._narrowed, self.line.cells > self._console.width
        if self._narrowed and not narrowed:
            return  # the terminal may not have wrapped the line yet
        with self._console:
            self.mend()
            self._live.refresh()

    def mend(self) -> None:
        """Erases the rows of a line that a narrower terminal has wrapped."""
        wrapped = (self.line.cells - 1) // self._console.width
        if wrapped > 0 and _wraps_again():
            up = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
            self._console.control(Control(*up * wrapped))
        self.line.cells = 0

    def close(self) -> None:
        with self._console:
            self.mend()
            self._live.stop()


class _MessageHandler(logging.Handler):
    """Prints messages above the bar; a critical one ends the run, so the bar is removed first."""

    def __init__(self, terminal: RichTerminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if record.levelno >= logging.CRITICAL:
                self._terminal.clear()
            self._terminal.print(message(record.levelname, self.format(record)))
        except Exception:  # like every handler: a message that cannot be printed must not end the run
            self.handleError(record)


def message(level: str, text: str) -> RenderableType:
    """A wrapped log message, with its level from WARNING on; indented rows of a table are cut, not wrapped."""
    style = _STYLES.get(level)
    rows = map(printable, text.removeprefix(f"{level}: ").splitlines())
    lines = Group(*(_row(row, "" if style else "dim") for row in rows))
    if style is None:
        return lines
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.add_row(Text(f"{level}:", style=style), lines)
    return grid


def _row(text: str, style: str) -> Text:
    is_of_table = text.startswith("  ")
    return Text(text, style=style, no_wrap=is_of_table, overflow="ellipsis" if is_of_table else "fold")
