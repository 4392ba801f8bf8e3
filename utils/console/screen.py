"""The base classes of a launch's screen and progress bar; they show nothing themselves (no TF)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Step = tuple[int, ...] | str
Rows = Sequence[tuple[str, str]]
"""Labels with their texts."""
MESSAGE_FORMAT = "%(levelname)s: %(message)s"


class Bar:
    """The progress of a loop.

    Attributes:
        done: The latest step.
    """

    def __init__(self, start: int) -> None:
        self.done = start

    def advance(self, done: int, loss: float | None = None) -> None:
        """Moves the bar to step ``done`` and shows the latest loss."""
        self.done = done

    def update(self, more: int, /) -> None:
        """Moves the bar forward by ``more`` steps."""
        self.advance(self.done + more)

    def close(self) -> None:
        """Removes the bar."""


class Terminal(Protocol):
    """A terminal with a progress bar and log messages."""

    def bar(self, what: str, start: int, total: int | None) -> Bar:
        """Draws a bar from ``start`` to ``total`` at the bottom; all other output appears above it."""

    def handler(self) -> logging.Handler:
        """A log handler that prints messages above the bar."""


class Screen:
    """The output of a launch. This class shows progress bars and messages, but no results.

    Args:
        bars: The terminal for progress bars; None draws none.
        messages: The terminal for log messages; None writes them to standard error unchanged.

    Attributes:
        is_readable: Results are formatted for people instead of log parsers.
    """

    is_readable = False

    def __init__(self, bars: Terminal | None = None, messages: Terminal | None = None) -> None:
        self._bars = bars
        self._messages = messages

    def header(self, rows: Rows, heading: str = "") -> None:
        """Shows what is about to run, below a heading if there is one."""

    def best(self, metric: str, step: int, value: float) -> None:
        """Sets the metric that ranks checkpoints, with the step and value of the best one so far."""

    def record(self, step: Step, data: Mapping[str, Any], units: Mapping[str, str | None]) -> None:
        """Shows a log record; its arguments are those of ``Logger.log``, and the units by key."""

    def lines(self, text: str) -> None:
        """Prints lines for programs that parse the console, such as an evaluator's report."""

    def table(self, rows: Rows) -> None:
        """Shows one line per row, such as a file and its predictions."""

    def footer(self, rows: Rows) -> None:
        """Shows where the results are."""

    def bar(self, what: str, start: int, total: int | None) -> Bar:
        """Shows a progress bar until it is closed.

        Args:
            what: The name of the loop.
            start: Number of steps already done.
            total: The last step, or None if it is unknown.
        """
        return Bar(start) if self._bars is None else self._bars.bar(what, start, total)

    def handler(self) -> logging.Handler:
        """A log handler that does not disturb the bar."""
        handler = logging.StreamHandler(sys.stderr) if self._messages is None else self._messages.handler()
        handler.setFormatter(logging.Formatter(MESSAGE_FORMAT))
        return handler
