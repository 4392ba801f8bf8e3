"""Saves a checkpoint every n steps."""

from __future__ import annotations

from collections.abc import Callable

from utils.hooks.hook import Hook, StepRecord


class CheckpointHook(Hook):
    """Calls ``save(step)`` every n steps."""

    def __init__(self, every: int, save: Callable[[int], object]) -> None:
        self._every = every
        self._save = save
        self._saved = 0

    def after_step(self, record: StepRecord) -> None:
        if record.step % self._every == 0 and record.step != self._saved:
            self._saved = record.step
            self._save(record.step)
