"""Names and numbers formatted for a report: any characters, limited length (no TF)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from utils.text import one_line

_LONGEST = 60
_LISTED = 6
_TINY, _LARGE, _WHOLE = 0.001, 1e4, 1e9  # limits between the number formats


def class_names(evaluation: Mapping[str, Any]) -> dict[int, str]:
    """The name of each class of an evaluation by its number or id; unnamed classes get their number."""
    if evaluation["task"] == "detection":
        return {row["id"]: row["name"] for row in evaluation["classes"]}
    given = evaluation["class_names"] or []
    return {n: given[n] if n < len(given) else f"class {n}" for n in range(len(evaluation["classes"]))}


def short(text: str, longest: int = _LONGEST) -> str:
    """A text on one line, shortened in the middle if it is long."""
    text = one_line(text)
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - 1]}…{text[len(text) - end :]}"


def cell(text: str, longest: int = _LONGEST) -> str:
    """A text for HTML, shortened; the whole text appears as a tooltip."""
    brief, whole = short(text, longest), one_line(text)
    return escape(brief) if brief == whole else f'<span title="{escape(whole)}">{escape(brief)}</span>'


def quoted_class(names: Mapping[int, str], number: int | None) -> str:
    """The name of a class in a sentence."""
    return f"'{short(names.get(number, f'class {number}'))}'" if number is not None else "nothing"


def class_list(names: Mapping[int, str], numbers: Sequence[int]) -> str:
    """A list of classes in a sentence: the first few and the number of the others."""
    first = ", ".join(quoted_class(names, number) for number in numbers[:_LISTED])
    more = len(numbers) - _LISTED
    return f"{first} and {more} more" if more > 0 else first


def format_flag(value: Any) -> str:
    """The full value of a flag, as given."""
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list):
        return ", ".join(map(format_flag, value)) or "none"
    return "–" if value is None else one_line(str(value))


def format_value(value: Any) -> str:
    """A value for a table: numbers with four or more digits, a dash for a missing value."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return one_line(str(value))
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < _WHOLE:
        return str(int(value))
    if abs(value) < 1:
        return f"{value:.4f}" if abs(value) >= _TINY else f"{value:.4g}"
    return f"{value:.5g}" if abs(value) < _LARGE else f"{value:.1f}"
