"""Counts and names the examples that could not be used."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from utils.errors import RunError
from utils.hooks.hook import Hook, StepRecord

STATUS = "status"
INDEX = "index"
_NOT_BAD = (0, 1)  # real, padding


class BadRecordHook(Hook):
    """Reports each bad example once, and ends the run when there are more than allowed.

    Args:
        allowed: Largest number of different bad examples that a run survives.
        describe: Says where an example of an index lies and what is wrong with it, given its status.
    """

    def __init__(self, allowed: int, describe: Callable[[int, int], str]) -> None:
        self._allowed = allowed
        self._describe = describe
        self.found: dict[int, str] = {}

    def after_step(self, record: StepRecord) -> None:
        status = np.asarray(record.values[STATUS])
        for row in np.flatnonzero(~np.isin(status, _NOT_BAD)):
            index = int(record.values[INDEX][row])
            if index not in self.found:
                self._report(index, int(status[row]))

    def _report(self, index: int, status: int) -> None:
        reason = self.found[index] = self._describe(index, status)
        if len(self.found) > self._allowed:
            raise RunError(
                f"{reason}; {len(self.found)} bad record{'s' if len(self.found) > 1 else ''}, "
                f"{self._allowed} allowed (--max_bad_records)"
            )
        logging.getLogger(__name__).warning("%s; skipped", reason)
