"""A terminal: what is printed on it, the progress bar at its bottom, and log messages above the bar (no TF)."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from utils.console.figures import duration, significant
from utils.console.screen import Bar
from utils.text import printable

SECONDS_BETWEEN_DRAWS = 0.25
SECONDS_OF_RATE = 60.0  # the time left follows from how fast the last minute went
WIDEST_BAR = 79  # a line that a terminal made narrower need not wrap
NARROWEST_BAR = 8
_UNKNOWN_WIDTH = 80
_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}


class _Console(Console):
    """Leaves the cursor visible, which a killed process could not show again."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


def console_of(stream: TextIO) -> Console:
    """A console that writes to a stream as its terminal allows: colors, width, or plain text where there is none."""
    is_terminal = stream.isatty()
    return _Console(
        file=stream,
        force_terminal=is_terminal,
        width=_columns(stream) if is_terminal and os.environ.get("TERM", "").lower() in ("dumb", "unknown") else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _columns(stream: TextIO) -> int:
    """The width of a terminal, for those of which Rich takes one for granted."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _UNKNOWN_WIDTH
    except OSError:
        return _UNKNOWN_WIDTH


class RichTerminal:
    """A console with a bar and messages.

    Args:
        console: Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: _RichBar | None = None

    def print(self, renderable: RenderableType, *, wrap: bool = True) -> None:
        """Prints above the bar; without ``wrap`` long lines are left to the terminal, so that they can be copied."""
        self.console.print(renderable, soft_wrap=not wrap)

    def bar(self, what: str, start: int, total: int | None) -> Bar:
        """A bar, in place of the one before."""
        self.clear()
        if not self.console.is_interactive:
            return Bar(start)
        self._bar = _RichBar(self.console, what, start, total)
        return self._bar

    def clear(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def handler(self) -> logging.Handler:
        return _MessageHandler(self)


class _RichBar(Bar):
    """A line that is drawn anew a few times a second, by whoever tells it of progress: no thread is needed."""

    def __init__(self, console: Console, what: str, start: int, total: int | None) -> None:
        super().__init__(start)
        self._what = what
        self._total = total
        self._loss: float | None = None
        self._drawn = self._began = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque()
        self._live = Live(
            get_renderable=lambda: _Line(self),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
        )
        self._live.start(refresh=True)

    def advance(self, done: int, loss: float | None = None) -> None:
        self.done, self._loss = done, loss
        now = time.monotonic()
        if not self._seen or now - self._drawn >= SECONDS_BETWEEN_DRAWS:  # the first step takes longest: counts begin
            self._drawn = now
            self._seen.append((now, done))
            while len(self._seen) > 2 and now - self._seen[0][0] > SECONDS_OF_RATE:
                self._seen.popleft()
            self._live.refresh()

    def close(self) -> None:
        self._live.stop()

    def segments(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The line, with as much of it as there is room for."""
        width = min(options.max_width - 1, WIDEST_BAR)
        for figures in self._figures():
            room = width - len(self._what) - len(figures) - 2
            if room >= NARROWEST_BAR:
                break
        if room < NARROWEST_BAR:
            yield Segment(figures[:width])
            return
        yield Segment(f"{self._what} ")
        if self._total is not None:
            bar = ProgressBar(
                self._total, self.done, width=room, style="bright_black", complete_style="cyan", finished_style="green"
            )
            yield from console.render(bar, options)
        yield Segment(f" {figures}")

    def _figures(self) -> list[str]:
        """What is said of the progress, in less and less columns."""
        loss = "" if self._loss is None else f"  loss {significant(self._loss)}"
        if self._total is None:
            short = f"{self.done:,}"
            return [f"{short} steps{loss}  {duration(time.monotonic() - self._began)}", f"{short}{loss}", short]
        share = f"{100 * self.done // max(self._total, 1):3d} %"
        steps = f"{share}  {self.done:,}/{self._total:,}"
        left = self._left(self._total)
        return [f"{steps}{loss}  {left}", f"{steps}  {left}", f"{share}  {left}", share]

    def _left(self, total: int) -> str:
        (first, done), (last, latest) = self._seen[0] if self._seen else (0.0, 0), (self._drawn, self.done)
        if not self._seen or latest <= done:
            return "-:-- left"
        return f"{duration((total - latest) * (last - first) / (latest - done))} left"


class _Line:
    """The bar as Rich draws it."""

    def __init__(self, bar: _RichBar) -> None:
        self._bar = bar

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        return self._bar.segments(console, options)


class _MessageHandler(logging.Handler):
    """Shows messages wrapped, warnings in color, and takes the bar away before the sentence that ends a run."""

    def __init__(self, terminal: RichTerminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if record.levelno >= logging.CRITICAL:
                self._terminal.clear()
            self._terminal.print(message(record.levelname, self.format(record)))
        except Exception:  # as every handler does, a message that cannot be shown ends no run
            self.handleError(record)


def message(level: str, text: str) -> RenderableType:
    """A log message: its lines wrapped and indented; the level is shown from warnings on."""
    body = text.removeprefix(f"{level}: ")
    lines = Text("\n".join(map(printable, body.splitlines())), overflow="fold")
    if level not in _STYLES:
        lines.stylize("dim")
        return lines
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(f"{level}:", style=_STYLES[level]), lines)
    return grid
