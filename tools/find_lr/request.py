"""The request for a range test (no TF)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from utils.cmdline_helper import Command

NUMBERS, CHART = "find_lr.json", "find_lr.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A parsed command line: the training to test, and the options of the test.

    Attributes:
        command: The training.
        output: Folder for the chart and the numbers.
        steps: Number of rates to try.
        lowest: First learning rate, for a global batch of 256.
        highest: Last one.
    """

    command: Command
    output: Path
    steps: int
    lowest: float
    highest: float
