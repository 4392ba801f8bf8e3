"""The best checkpoint so far, and the number of evaluations without improvement since then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BestCheckpoint:
    """The highest value of a metric so far.

    Attributes:
        step: Step of the best checkpoint; -1 before the first evaluation.
        value: Its value.
        evaluations_since: Number of evaluations without improvement since then.
    """

    step: int = -1
    value: float = float("-inf")
    evaluations_since: int = 0

    def after(self, step: int, value: float) -> BestCheckpoint:
        """The state after one more evaluation; an equal value is not an improvement."""
        if value > self.value:
            return BestCheckpoint(step=step, value=value)
        return BestCheckpoint(step=self.step, value=self.value, evaluations_since=self.evaluations_since + 1)

    def exhausted(self, patience: int) -> bool:
        """Returns true after ``patience`` evaluations in a row without improvement; a patience of 0 never ends."""
        return 0 < patience <= self.evaluations_since

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(stored: Mapping[str, Any] | None) -> BestCheckpoint:
        return BestCheckpoint() if stored is None else BestCheckpoint(**stored)
