"""A progress bar with the time left, on terminals only."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm

from utils.hooks.hook import Hook, StepRecord


class ProgressHook(Hook):
    """Shows steps done, rate, time left and the latest loss; prints nothing where standard error is no terminal."""

    def __init__(self, description: str, scalar: str | None = None) -> None:
        self._description = description
        self._scalar = scalar
        self._bar: Any = None

    def begin(self, step: int, last: int | None) -> None:
        self._bar = tqdm(
            desc=self._description, initial=step, total=last, unit="step", disable=None, dynamic_ncols=True, leave=False
        )

    def after_step(self, record: StepRecord) -> None:
        self._bar.update(record.step - self._bar.n)
        if self._scalar is not None:
            self._bar.set_postfix({self._scalar: f"{float(record.values[self._scalar]):.4g}"}, refresh=False)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()


class BarFriendlyStream:
    """A text stream whose lines appear above a progress bar instead of through it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        tqdm.write(text, file=self._stream, end="")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def console(stream: TextIO | None = None) -> TextIO:
    """Standard output, or ``stream``, made friendly to bars where there is a terminal to draw them on."""
    stream = sys.stdout if stream is None else stream
    return BarFriendlyStream(stream) if sys.stderr.isatty() else stream  # type: ignore[return-value]
