"""Counts and names the examples that could not be used."""

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
"""Not 0 where any process had a bad example in this batch; there only where processes tell each other."""
_NOT_BAD = (0, 1)  # real, padding


class BadRecordHook(Hook):
    """Reports each bad example once, and ends the run when there are more than allowed in all processes together.

    Args:
        allowed: Largest number of different bad examples that a run survives.
        describe: Says where an example of an index lies and what is wrong with it, given its status.
        communicator: The processes.
    """

    def __init__(self, allowed: int, describe: Callable[[int, int], str], communicator: Communicator) -> None:
        self._allowed = allowed
        self._describe = describe
        self._communicator = communicator
        self._untold: dict[int, tuple[str, str]] = {}
        self.found: dict[int, str] = {}

    def after_step(self, record: StepRecord) -> None:
        status = np.asarray(record.values[STATUS])
        place = f"in step {record.step}{of_rank(self._communicator)}"
        for row in np.flatnonzero(~np.isin(status, _NOT_BAD)):
            index = int(record.values[INDEX][row])
            if index not in self.found and index not in self._untold:
                self._untold[index] = (self._describe(index, int(status[row])), place)
        if self._communicator.size == 1 or np.any(record.values.get(BAD_SOMEWHERE, 0)):
            self.share()
        elif len(self.found) + len(self._untold) > self._allowed:
            self._report()  # no need to wait for the others, who would go on

    def share(self) -> None:
        """Tells the other processes what was found here, and reports what was found anywhere.

        Raises:
            RunError: There are more bad examples than allowed.
        """
        for untold in self._communicator.gather(self._untold):
            self._untold |= untold
        self._report()

    def _report(self) -> None:
        untold, self._untold = self._untold, {}
        for index, (reason, place) in untold.items():
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
