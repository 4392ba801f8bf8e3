"""Records what some steps compute, and when, for TensorBoard's profile plugin and for trace viewers."""

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
"""Where TensorBoard looks for them in a folder."""


class ProfileHook(Hook):
    """Traces the steps from one to another, once; where that cannot be written, it is said and the run goes on.

    It leaves ``plugins/profile/<time>/<host>.xplane.pb`` and ``trace-FROM-TO.json.gz``, of the steps that there were.
    A step lasts until the next one begins, so that the other hooks are a part of it. A trace ends with the loop: where
    training pauses, to evaluate, the steps after the pause are not in it.

    Args:
        steps: The first and the last step.
        folder: Where the trace goes.
        mark: What the trace calls a step.
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
        tried = self._reached + 1  # where the update was skipped it is tried again, under the same number
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
        """Says so where the steps did not come."""
        if not self._done:
            asked = text_of_steps((self._first, self._last))
            _log.warning("--profile %s: none of these steps ran in this launch, so there is no trace", asked)

    def _start(self) -> None:
        """Begins to record where the step after the one reached is asked for."""
        if not self._done and self._first <= self._reached + 1 <= self._last:
            self._records = self._attempt(lambda: tf.profiler.experimental.start(str(self._folder)))
            self._open_frame()

    def _open_frame(self) -> None:
        self._frame = tf.profiler.experimental.Trace(self._mark, _r=1)  # the plugin knows steps by _r

    def _close_frame(self, step: int | None) -> None:
        """Ends the frame of a step; None where no step came any more, so that the frame stays without a number."""
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
            "trace of the steps %d to %d: %s, for chrome://tracing and ui.perfetto.dev; with TensorBoard's plugin for "
            "profiles, tensorboard --logdir %s shows it too", first, last, target, self._folder,
        )  # fmt: skip
        if (first, last) != (self._first, self._last):
            asked = text_of_steps((self._first, self._last))
            _log.warning("--profile %s: the loop began or ended inside of them; no others are traced", asked)

    def _recordings(self) -> list[Path]:
        return sorted((self._folder / _RECORDINGS).glob("*/*.xplane.pb"), key=lambda path: path.stat().st_mtime_ns)

    def _attempt(self, act: Callable[[], object]) -> bool:
        """Return whether it could be done; where not, that is said, and nothing is tried again."""
        try:
            act()
        except (OSError, RuntimeError, ValueError, IndexError, ImportError, tf.errors.OpError) as error:
            _log.warning("%s: the trace cannot be written (%s); going on without", self._folder, reason(error))
            self._done = True
            return False
        return True
