"""What a run shows of its inside in TensorBoard and in traces, where that is asked for (no TF)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from utils.errors import UsageError, require

MOST_TRACED_STEPS = 100
"""A step of a large network has some ten thousand events, and viewers hold about a million."""
_ALLOWED = f"FROM,TO: the first and the last step, counted from 1, at most {MOST_TRACED_STEPS} of them"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationConfig:
    """What is looked at while a run goes on, beside what every run shows.

    Attributes:
        histograms_every: Write histograms of weights, gradients and activations every n-th training step; 0 for never.
        profile: First and last step of the trace, both inside; None for none.

    Raises:
        UsageError: A value is out of range.
    """

    histograms_every: int = 0
    profile: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        require(self.histograms_every >= 0, "histograms_every", self.histograms_every, "0 or more")
        if self.profile is not None:
            first, last = self.profile
            fits = 0 < first <= last < first + MOST_TRACED_STEPS
            require(fits, "profile", text_of_steps(self.profile), _ALLOWED)

    def check_length(self, steps: int, what: str = "steps") -> None:
        """Raises ``UsageError`` when the trace would begin after the end of a run of ``steps``."""
        if self.profile is not None and self.profile[0] > steps:
            raise UsageError(
                f"--profile {text_of_steps(self.profile)}: begins after the end, the run has {steps} {what}"
            )


def steps_of_text(text: str) -> tuple[int, int]:
    """The two step numbers in ``FROM,TO``.

    Raises:
        UsageError: It is not two numbers.
    """
    match = re.fullmatch(r"\s*(\d{1,18})\s*,\s*(\d{1,18})\s*", text, re.ASCII)
    if match is None:
        raise UsageError(f"--profile {text or repr(text)}: must be {_ALLOWED}")
    return int(match[1]), int(match[2])


def text_of_steps(steps: tuple[int, int]) -> str:
    """``FROM,TO`` again."""
    return f"{steps[0]},{steps[1]}"
