"""Hooks, the observers of the loop, and what the loop tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One batch that was run.

    Attributes:
        step: Updates done so far in training, this one included; batches done so far elsewhere. A training step that
            was skipped because its gradients overflowed leaves it as it was.
        run_seconds: Time inside ``Session.run``.
        seconds: Time since the batch before was done, hooks included.
        wait_seconds: Time that the batch waited for the input.
        values: What was fetched, by name.
    """

    step: int
    run_seconds: float
    seconds: float
    wait_seconds: float
    values: Mapping[str, Any]


class Hook:
    """An observer that does nothing; others override what they need."""

    def begin(self, step: int, last: int | None) -> None:
        """Called before the first batch of a loop from ``step`` to ``last`` (None: to the end of the input)."""

    def after_step(self, record: StepRecord) -> None:
        """Called after each batch."""

    def end(self) -> None:
        """Called when the loop ends, also by an error."""

    @property
    def wants_stop(self) -> bool:
        """Return whether the loop shall end after this batch."""
        return False
