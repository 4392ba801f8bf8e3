"""The state in which every program of this project begins: its streams, and Ctrl-C (no TF)."""

from __future__ import annotations

import atexit
import gc
import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

_OBJECTS_BETWEEN_SEARCHES = 50_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed


def begin() -> None:
    """Prepares the streams and signals of a program; programs call it before they import anything large.

    Standard streams that are closed lead nowhere: otherwise, the next file to be opened would get the number of one,
    and messages would be written into it. Whatever is printed is plain text. Until the program begins its work, Ctrl-C
    ends it silently, as the kernel does: an exception could be raised in the middle of any import. Python searches for
    garbage less often, and not at the end: the objects of TensorFlow and of its graphs stay, and searching them took
    up to a fifth of the time in which they come into being.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES)
    atexit.register(gc.freeze)
    for number in range(3):
        _open_if_closed(number)
    sys.stdout = sys.__stdout__ = _plain(sys.stdout, 1)  # type: ignore[misc]  # declared final
    sys.stderr = sys.__stderr__ = _plain(sys.stderr, 2)  # type: ignore[misc]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is ignored, as in background jobs
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupts_raise() -> AbstractContextManager[None]:
    """Has Ctrl-C raise ``KeyboardInterrupt`` during a block, where it ends the program otherwise."""
    ends = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    return _handled_by(signal.default_int_handler) if ends else nullcontext()


def interrupts_kill() -> AbstractContextManager[None]:
    """Has Ctrl-C end the program at once during a block, unless it is ignored."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return nullcontext() if ignored else _handled_by(signal.SIG_DFL)


@contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    former = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def plain(text: str) -> str:
    """A text whose control characters appear as escapes, apart from tabs and line feeds."""
    return _CONTROL.sub(lambda found: repr(found.group())[1:-1], text)


class PlainText(io.TextIOWrapper):
    """A stream that takes plain text only.

    Names in data, in configs and of files thus never reach the terminal as control sequences.
    """

    def write(self, text: str, /) -> int:
        return super().write(plain(text))

    def write_unchanged(self, text: str) -> int:
        """Writes a text with its control sequences."""
        return super().write(text)


class Canvas:
    """The stream beneath plain text, for what draws on a terminal."""

    def __init__(self, stream: PlainText) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write_unchanged(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def canvas(stream: Any) -> Any:
    """The stream that takes control sequences for the terminal of ``stream``."""
    return Canvas(stream) if isinstance(stream, PlainText) else stream


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number: this one


def _plain(stream: Any, number: int) -> PlainText:
    if isinstance(stream, PlainText):
        return stream
    if stream is None:  # it was closed
        stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  (it stays open)
    options = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
    encoding = stream.encoding
    return PlainText(stream.detach(), encoding, "backslashreplace", newline="\n", **options)
