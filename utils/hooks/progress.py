"""The progress bar of a loop."""

from __future__ import annotations

from utils.console.screen import Bar, Screen
from utils.hooks.hook import Hook, StepRecord


class ProgressHook(Hook):
    """Shows the steps done, the time left and the latest loss.

    Args:
        screen: Shows the bar.
        what: The name of the loop.
        scalar: Name of the fetched loss, if any.
        last: The last step of the launch, if the loop covers only a part of it or does not know its end.
    """

    def __init__(self, screen: Screen, what: str, scalar: str | None = None, last: int | None = None) -> None:
        self._screen = screen
        self._what = what
        self._scalar = scalar
        self._last = last
        self._bar: Bar | None = None

    def begin(self, step: int, last: int | None) -> None:
        self._bar = self._screen.bar(self._what, step, last if self._last is None else self._last)

    def after_step(self, record: StepRecord) -> None:
        if self._bar is not None:
            self._bar.advance(record.step, None if self._scalar is None else float(record.values[self._scalar]))

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
