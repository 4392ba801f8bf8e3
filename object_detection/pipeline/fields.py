"""Checked access to the fields of a pipeline config, with a record of the fields that were read (no TF)."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

from object_detection.pipeline.text import Pipeline, describe, holder
from utils.errors import UsageError

LARGEST = 1e30
"""Limit of values that are computed in float32, whose largest number is 3e38."""


class Fields:
    """The fields of one config by their paths, checked as they are read.

    Attributes:
        message: The root message.
        seen: Paths that were read, with ``[]`` in place of an index.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.message = pipeline.message
        self.seen: set[str] = set()

    def error(self, path: str, problem: str) -> UsageError:
        return self._pipeline.error(path, problem)

    def is_set(self, path: str) -> bool:
        """Returns whether the config sets a field; does not mark it as read."""
        message, name = holder(self.message, path)
        if describe(path)[1].is_repeated:
            return len(getattr(message, name)) > 0
        return bool(message.HasField(name))

    def default(self, path: str) -> Any:
        """Returns the format's default of a number or text."""
        field = describe(path)[1]
        return () if field.is_repeated else plain(field, field.default_value)

    def value(self, path: str) -> Any:
        """Returns a number, text, switch or name of an enumeration, or the format's default."""
        self.seen.add(re.sub(r"\[\d+\]", "[]", path))
        message, name = holder(self.message, path)
        return plain(describe(path)[1], getattr(message, name))

    def need(self, path: str) -> None:
        """Requires a message.

        Raises:
            UsageError: The message is missing, or another of its alternatives is set.
        """
        self.seen.add(re.sub(r"\[\d+\]", "[]", path))
        if self.is_set(path):
            return
        parent, _, name = path.rpartition(".")
        message, _ = holder(self.message, path)
        chosen = message.WhichOneof("alternatives") if message.DESCRIPTOR.oneofs else None
        if chosen:
            raise self.error(f"{parent}.{chosen}", f": must be {name}; SSD320 is built that way")
        raise self.error(parent, f": has no {name}, which is needed")

    def one_of(self, path: str, names: Collection[str]) -> str:
        """Returns the one of some alternatives that the message at ``path`` has.

        Raises:
            UsageError: The message has none of them.
        """
        for name in names:
            if self.is_set(f"{path}.{name}"):
                return name
        raise self.error(path, f": has none of {', '.join(names)}, and one is needed")

    def number(self, path: str, low: float, high: float = LARGEST, *, above: bool = False) -> Any:
        """Returns a number and checks its range.

        Args:
            path: The field.
            low: Lower limit.
            high: Upper limit.
            above: Whether the number must exceed ``low``.

        Raises:
            UsageError: The number is out of range or not finite.
        """
        value = self.value(path)
        if not (math.isfinite(value) and low <= value <= high and not (above and value == low)):
            least = f"above {written(low)}" if above else f"at least {written(low)}"
            most = f" and at most {written(high)}" if high < LARGEST else ""
            number = "" if math.isfinite(value) else "a finite number, "
            raise self.error(path, f" {written(value)}: must be {number}{least}{most}")
        return value

    def fixed(self, path: str, value: Any, why: str) -> None:
        """Requires a field to have one value.

        Raises:
            UsageError: The field has another value.
        """
        if self.value(path) != value:
            has = written(self.value(path))
            unset = "" if self.is_set(path) else " (its default)"
            raise self.error(path, f" {has}{unset}: must be {written(value)}; {why}")

    def same(self, paths: tuple[str, str]) -> Any:
        """Returns the value that two fields must share.

        Raises:
            UsageError: The values differ.
        """
        first, second = (self.value(path) for path in paths)
        if first != second:
            raise self.error(paths[1], f" {written(second)}: must be {written(first)}, the value of {paths[0]}")
        return first


def plain(field: Any, value: Any) -> Any:
    """Converts a field's value to Python's types: lists to tuples, values of enumerations to their names."""
    if field.is_repeated:
        return tuple(value)
    return field.enum_type.values_by_number[value].name if field.enum_type else value


def written(value: Any) -> str:
    """Formats a value as a config writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, str):
        return value or '""'
    return f"{value:.10g}" if isinstance(value, float) else str(value)
