"""Worker processes for long work, and the display of its progress (no TF)."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing.connection import wait
from typing import Protocol

from utils.console.terminal import RichTerminal, console_of

_LINE_EVERY_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Progress(Protocol):
    """Receives the number of completed images."""

    def update(self, images: int, /) -> object: ...


class _Lines:
    """Progress without a terminal: a line every ten seconds."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._last = total, 0, time.monotonic()

    def update(self, images: int, /) -> None:
        self._done += images
        if time.monotonic() - self._last >= _LINE_EVERY_SECONDS:
            self._last = time.monotonic()
            _log.info("%s of %s images", f"{self._done:,}", f"{self._total:,}")


@contextmanager
def progress_of(total: int) -> Iterator[Progress]:
    """Shows the progress over ``total`` images: a bar on a terminal, else a line every ten seconds."""
    if not sys.stderr.isatty():
        yield _Lines(total)
        return
    error = sys.stderr
    handlers = (handler for handler in logging.getLogger().handlers if isinstance(handler, logging.StreamHandler))
    said_there = [handler for handler in handlers if handler.stream is error]
    with closing(RichTerminal(console_of(error)).bar("images", 0, total)) as bar:
        for handler in said_there:
            handler.setStream(sys.stderr)  # now the bar's handler, which prints above the bar
        try:
            yield bar
        finally:
            for handler in said_there:
                handler.setStream(error)


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of processes that ignore Ctrl-C and SIGTERM and end with this process."""
    context = multiprocessing.get_context("spawn")  # fork is unsafe next to threads
    return ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker)


def begin_worker() -> None:
    """Ignores stop signals, and ends with the parent process even if that is killed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent.sentinel,), daemon=True).start()


def _exit_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
