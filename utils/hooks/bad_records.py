"""Counts and reports unusable examples."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from utils.errors import RunError
from utils.hooks.hook import Hook, StepRecord
from utils.hvd_utils import Communicator, of_rank

STATUS = "status"
INDEX = "index"
BAD_SOMEWHERE = "bad_somewhere"
"""Not 0 if any process had a bad example in this batch; present only if processes share this flag."""
_NOT_BAD = (0, 1)  # real, padding


class BadRecordHook(Hook):
    """Reports each bad example once and ends the run if all processes together find more than allowed.

    Args:
        allowed: Largest number of distinct bad examples that a run tolerates.
        describe: Returns the location and fault of an example, given its index and status.
        communicator: The processes.
    """

    def __init__(self, allowed: int, describe: Callable[[int, int], str], communicator: Communicator) -> None:
        self._allowed = allowed
        self._describe = describe
        self._communicator = communicator
        self._unreported: dict[int, tuple[str, str]] = {}
        self.found: dict[int, str] = {}

    def after_step(self, record: StepRecord) -> None:
        status = np.asarray(record.values[STATUS])
        place = f"in step {record.step}{of_rank(self._communicator)}"
        for row in np.flatnonzero(~np.isin(status, _NOT_BAD)):
            index = int(record.values[INDEX][row])
            if index not in self.found and index not in self._unreported:
                self._unreported[index] = (self._describe(index, int(status[row])), place)
        if self._communicator.size == 1 or np.any(record.values.get(BAD_SOMEWHERE, 0)):
            self.share()
        elif len(self.found) + len(self._unreported) > self._allowed:
            self._report()  # raises at once: the other processes would continue

    def share(self) -> None:
        """Exchanges the bad examples of all processes and reports them.

        Raises:
            RunError: The processes found more bad examples than allowed.
        """
        for unreported in self._communicator.gather(self._unreported):
            self._unreported |= unreported
        self._report()

    def _report(self) -> None:
        unreported, self._unreported = self._unreported, {}
        for index, (reason, place) in unreported.items():
            if index not in self.found:
                self._add(index, reason, place)

    def _add(self, index: int, reason: str, place: str) -> None:
        self.found[index] = reason
        if len(self.found) > self._allowed:
            raise RunError(
                f"{reason}; {len(self.found)} bad record{'s' if len(self.found) > 1 else ''}, "
                f"{self._allowed} allowed (--max_bad_records), {place}"
            )
        logging.getLogger(__name__).warning("%s; skipped", reason)
