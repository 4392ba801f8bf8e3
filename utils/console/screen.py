"""The screen of a launch, and its progress bar: these two show nothing, all others derive from them (no TF)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Step = tuple[int, ...] | str
Rows = Sequence[tuple[str, str]]
"""Labels, each with what is to be said of it."""
MESSAGE_FORMAT = "%(levelname)s: %(message)s"


class Bar:
    """Progress through a loop or a piece of work.

    Attributes:
        done: The latest step.
    """

    def __init__(self, start: int) -> None:
        self.done = start

    def advance(self, done: int, loss: float | None = None) -> None:
        """Tells that ``done`` steps are done, and the latest loss."""
        self.done = done

    def update(self, more: int, /) -> None:
        """Tells that ``more`` steps are done."""
        self.advance(self.done + more)

    def close(self) -> None:
        """Takes the bar away."""


class Terminal(Protocol):
    """A terminal that can be drawn on."""

    def bar(self, what: str, start: int, total: int | None) -> Bar:
        """A bar at the bottom, from ``start`` to ``total`` steps; above it goes on what is shown otherwise."""

    def handler(self) -> logging.Handler:
        """Shows log messages above the bar."""


class Screen:
    """What a launch shows of itself. This one shows messages and bars where there is a terminal, and no results.

    Args:
        bars: Where bars are drawn, if anywhere.
        messages: Where log messages go; without a terminal to standard error, as they are.

    Attributes:
        is_readable: Results are shown for people, not for programs.
    """

    is_readable = False

    def __init__(self, bars: Terminal | None = None, messages: Terminal | None = None) -> None:
        self._bars = bars
        self._messages = messages

    def header(self, rows: Rows) -> None:
        """Tells what is about to run."""

    def best(self, metric: str, step: int, value: float) -> None:
        """Tells the metric that the best checkpoint has the highest value of, and its step and value so far."""

    def record(self, step: Step, data: Mapping[str, Any], units: Mapping[str, str | None]) -> None:
        """Shows a record of the log, as ``utils.dllogger_utils.Logger.log`` takes it, with the units by key."""

    def lines(self, text: str) -> None:
        """Shows lines that programs read: an evaluator's report, and what ends an evaluation."""

    def table(self, rows: Rows) -> None:
        """Shows a line for each of many things, such as files and what was predicted for them."""

    def footer(self, rows: Rows) -> None:
        """Tells at the end where everything lies."""

    def bar(self, what: str, start: int, total: int | None) -> Bar:
        """A bar that is shown until it is closed.

        Args:
            what: What runs, in a word.
            start: Steps done already.
            total: The last step, or None where it is not known.
        """
        return Bar(start) if self._bars is None else self._bars.bar(what, start, total)

    def handler(self) -> logging.Handler:
        """Shows log messages, without disturbing the bar."""
        handler = logging.StreamHandler(sys.stderr) if self._messages is None else self._messages.handler()
        handler.setFormatter(logging.Formatter(MESSAGE_FORMAT))
        return handler
