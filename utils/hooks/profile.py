"""Traces some steps for TensorBoard's profile plugin and for trace viewers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from utils.config import text_of_steps
from utils.errors import reason
from utils.files.atomic_file import write_atomically
from utils.hooks.hook import Hook, StepRecord
from utils.reporting.chrome_trace import STEP_NUMBER, chrome_trace

_log = logging.getLogger(__name__)
_RECORDINGS = Path("plugins") / "profile"
"""TensorBoard's subfolder for recordings."""


class ProfileHook(Hook):
    """Traces a range of steps once; if the trace cannot be written, logs a warning and lets the run continue.

    Writes ``plugins/profile/<time>/<host>.xplane.pb`` and ``trace-FROM-TO.json.gz`` with the traced steps. A step lasts
    until the next one begins, so it includes the other hooks. A trace ends with the loop: if training pauses to
    evaluate, the steps after the pause are not traced.

    Args:
        steps: The first and the last step.
        folder: Folder for the trace.
        mark: Name of a step in the trace.
    """

    def __init__(self, steps: tuple[int, int], folder: Path, mark: str) -> None:
        self._first, self._last = steps
        self._folder = folder
        self._mark = mark
        self._done = False
        self._records = False
        self._traced: list[int] = []
        self._reached = 0
        self._frame: Any = None

    def begin(self, step: int, last: int | None) -> None:
        self._reached = step
        self._start()

    def after_step(self, record: StepRecord) -> None:
        tried = self._reached + 1  # a skipped update is tried again under the same number
        self._reached = record.step
        if not self._records:
            self._start()
            return
        self._close_frame(tried)
        if record.step < self._last:
            self._open_frame()
        else:
            self._finish()

    def end(self) -> None:
        if self._records:
            self._close_frame(None)
            self._finish()

    def close(self) -> None:
        """Logs a warning if none of the steps ran."""
        if not self._done:
            asked = text_of_steps((self._first, self._last))
            _log.warning("--profile %s: none of these steps ran in this launch, so there is no trace", asked)

    def _start(self) -> None:
        """Begins to record if the next step is among the requested ones."""
        if not self._done and self._first <= self._reached + 1 <= self._last:
            self._records = self._attempt(lambda: tf.profiler.experimental.start(str(self._folder)))
            self._open_frame()

    def _open_frame(self) -> None:
        self._frame = tf.profiler.experimental.Trace(self._mark, _r=1)  # the plugin recognizes steps by _r

    def _close_frame(self, step: int | None) -> None:
        """Ends the frame of a step; None leaves the frame without a number because no step followed."""
        if step is not None:
            self._frame.set_metadata(**{STEP_NUMBER: step})
            self._traced.append(step)
        self._frame.__exit__(None, None, None)
        self._frame = None

    def _finish(self) -> None:
        self._records = False
        if not self._traced:  # the loop paused just before the first step
            self._attempt(lambda: tf.profiler.experimental.stop(save=False))
            return
        self._done = True
        self._attempt(self._write)

    def _write(self) -> None:
        before = set(self._recordings())
        tf.profiler.experimental.stop()
        new = [path for path in self._recordings() if path not in before]
        first, last = self._traced[0], self._traced[-1]
        target = self._folder / f"trace-{first}-{last}.json.gz"
        write_atomically(target, chrome_trace(new[-1].read_bytes(), self._mark))
        _log.info(
            "trace of steps %d to %d: %s; open it in chrome://tracing or ui.perfetto.dev, or, with TensorBoard's "
            "profile plugin, run tensorboard --logdir %s", first, last, target, self._folder,
        )  # fmt: skip
        if (first, last) != (self._first, self._last):
            asked = text_of_steps((self._first, self._last))
            _log.warning("--profile %s: the loop began or ended within these steps; the others are not traced", asked)

    def _recordings(self) -> list[Path]:
        return sorted((self._folder / _RECORDINGS).glob("*/*.xplane.pb"), key=lambda path: path.stat().st_mtime_ns)

    def _attempt(self, act: Callable[[], object]) -> bool:
        """Returns whether ``act`` succeeded; logs a warning and gives up tracing if it did not."""
        try:
            act()
        except (OSError, RuntimeError, ValueError, IndexError, ImportError, tf.errors.OpError) as error:
            _log.warning("%s: the trace cannot be written (%s); continuing without it", self._folder, reason(error))
            self._done = True
            return False
        return True
