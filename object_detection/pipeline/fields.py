"""Reads the fields of a pipeline config, and remembers which ones were read (no TF)."""

from __future__ import annotations

import math
import re
from typing import Any

from object_detection.pipeline.text import Pipeline, describe, holder
from utils.errors import UsageError

LARGEST = 1e30
"""Of what is computed in float32, whose largest number is 3e38."""


class Fields:
    """The fields of one config by their paths, each checked where it is read.

    Attributes:
        message: The root message.
        seen: Paths that were read, ``[]`` in the place of an index.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.message = pipeline.message
        self.seen: set[str] = set()

    def error(self, path: str, problem: str) -> UsageError:
        return self._pipeline.error(path, problem)

    def is_set(self, path: str) -> bool:
        """Return whether the config says anything of a field; reading it or not is not changed by that."""
        message, name = holder(self.message, path)
        if describe(path)[1].is_repeated:
            return len(getattr(message, name)) > 0
        return bool(message.HasField(name))

    def default(self, path: str) -> Any:
        """The default of a number or text that the config does not give."""
        field = describe(path)[1]
        return () if field.is_repeated else plain(field, field.default_value)

    def value(self, path: str) -> Any:
        """A number, text or switch, by default what the format says; of an enumeration the name."""
        self.seen.add(re.sub(r"\[\d+\]", "[]", path))
        message, name = holder(self.message, path)
        return plain(describe(path)[1], getattr(message, name))

    def need(self, path: str) -> None:
        """Says that a message has to be there.

        Raises:
            UsageError: It is not, or another of its alternatives is.
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

    def number(self, path: str, low: float, high: float = LARGEST, *, above: bool = False) -> Any:
        """A number, integer or not.

        Args:
            path: The field.
            low: The least that it may be.
            high: The most that it may be.
            above: Whether it has to be more than ``low``.

        Raises:
            UsageError: It is outside of this, or not finite.
        """
        value = self.value(path)
        if not (math.isfinite(value) and low <= value <= high and not (above and value == low)):
            least = f"above {written(low)}" if above else f"at least {written(low)}"
            most = f" and at most {written(high)}" if high < LARGEST else ""
            number = "" if math.isfinite(value) else "a finite number, "
            raise self.error(path, f" {written(value)}: must be {number}{least}{most}")
        return value

    def fixed(self, path: str, value: Any, why: str) -> None:
        """Says that a field has to have one value.

        Raises:
            UsageError: It has another.
        """
        if self.value(path) != value:
            has = written(self.value(path))
            unset = "" if self.is_set(path) else " (its default)"
            raise self.error(path, f" {has}{unset}: must be {written(value)}; {why}")

    def same(self, paths: tuple[str, str]) -> Any:
        """The value that two fields have to share.

        Raises:
            UsageError: They differ.
        """
        first, second = (self.value(path) for path in paths)
        if first != second:
            raise self.error(paths[1], f" {written(second)}: must be {written(first)}, which {paths[0]} is")
        return first


def plain(field: Any, value: Any) -> Any:
    """Convert a field's value to Python's types: lists to tuples, values of enumerations to their names."""
    if field.is_repeated:
        return tuple(value)
    return field.enum_type.values_by_number[value].name if field.enum_type else value


def written(value: Any) -> str:
    """A value as a config has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, str):
        return value or '""'
    return f"{value:.10g}" if isinstance(value, float) else str(value)
