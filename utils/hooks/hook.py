"""Hooks, the observers of the loop, and the record of a step that they receive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One completed batch.

    Attributes:
        step: In training, the number of updates so far, including this one; a step skipped because its gradients
            overflowed does not count. Elsewhere, the number of batches so far.
        run_seconds: Time inside ``Session.run``.
        seconds: Time since the previous batch ended, hooks included.
        wait_seconds: Time spent waiting for the input of this batch.
        values: Fetched values by name.
    """

    step: int
    run_seconds: float
    seconds: float
    wait_seconds: float
    values: Mapping[str, Any]


class Hook:
    """An observer that does nothing; subclasses override the methods that they need."""

    def begin(self, step: int, last: int | None) -> None:
        """Called before the first batch of a loop from ``step`` to ``last`` (None: to the end of the input)."""

    def before_step(self) -> None:
        """Called before each batch is awaited and run."""

    def after_step(self, record: StepRecord) -> None:
        """Called after each batch."""

    def end(self) -> None:
        """Called when the loop ends, including after an error."""

    @property
    def wants_stop(self) -> bool:
        """Returns whether the loop should end after this batch."""
        return False
