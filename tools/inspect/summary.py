"""The summary of an inspection in lines for people (no TF)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools.inspect.charts import ClassRow
from utils.reporting.names import short

_NAMED = 5


def count_words(part: Mapping[str, Any], unit: str) -> str:
    """How many examples a split has, and how many of them were looked at."""
    whole = f"{part['examples']:,} {unit}"
    return whole if part["looked_at"] >= part["examples"] else f"{whole}, of which {part['looked_at']:,} were counted"


def class_lines(rows: Sequence[ClassRow], splits: Sequence[str]) -> list[str]:
    """The most and the least frequent class of the first split, and which classes a split lacks."""
    first = splits[0]
    ordered = sorted(rows, key=lambda row: -row.counts.get(first, 0))
    total = sum(row.counts.get(first, 0) for row in rows)
    if not total:
        return [f"classes: {len(rows):,}, none of them in {first}"]
    most, least = ordered[0], ordered[-1]
    many, few = most.counts[first], least.counts[first]
    if len(rows) == 1:
        lines = [f"classes: 1, {short(most.name)}: there is nothing to tell apart"]
    elif many == few:
        lines = [f"classes: {len(rows):,}; {first} has {many:,} of each"]
    else:
        lines = [
            f"classes: {len(rows):,}; {first} has most of {short(most.name)} ({many:,}, {many / total:.0%}), fewest of "
            f"{short(least.name)} ({few:,})"
        ]
    for split in splits:
        without = [row.name for row in rows if not row.counts.get(split, 0)]
        if without:
            named = ", ".join(short(name, 30) for name in without[:_NAMED])
            more = f" and {len(without) - _NAMED:,} more" if len(without) > _NAMED else ""
            lines.append(f"without an example in {split}: {named}{more}")
    return lines
