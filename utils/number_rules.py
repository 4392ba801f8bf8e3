"""Rules for numbers that several parts of a configuration share."""

from __future__ import annotations

import math

from utils.errors import require

LARGEST_AMOUNT = 1e30  # such amounts enter float32 arithmetic, whose largest number is 3e38


def require_amount(flag: str, value: float, unit: str = "") -> None:
    """Raises ``UsageError`` unless the value of ``--flag`` is an amount that float32 arithmetic can take.

    Args:
        flag: Name of the flag, without dashes.
        value: Its value.
        unit: What it counts, with a comma and a space after it.
    """
    allowed = f"{unit}at least 0 and at most {LARGEST_AMOUNT:g}"
    require(math.isfinite(value) and 0 <= value <= LARGEST_AMOUNT, flag, value, allowed)


def is_fraction(value: float) -> bool:
    """Returns whether a number lies within 0 and 1."""
    return math.isfinite(value) and 0.0 <= value <= 1.0
