"""Remarks on what a conversion repairs or leaves out: counted by kind, with the first few named (no TF)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from utils.text import plural, printable

_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One kind of remark: the number of ``noun``s, the remark on them, and the names of the first few."""

    noun: str
    what: str
    count: int
    first: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", tuple(self.first))  # JSON has lists only

    def sentence(self) -> str:
        """The remark as text: "3 boxes without area, left out: a.jpg annotation 7, ... and 1 more"."""
        more = self.count - len(self.first)
        names = ", ".join(map(printable, self.first)) + (f" and {more:,} more" if more else "")
        return f"{plural(self.count, self.noun)} {self.what}: {names}"


class Remarks:
    """Collects remarks, in the order in which each kind first came."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], list[str]] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, noun: str, what: str, name: str) -> None:
        """Counts one more of a kind."""
        self._extend(noun, what, 1, (name,))

    def _extend(self, noun: str, what: str, count: int, names: Iterable[str]) -> None:
        kept = self._names.setdefault((noun, what), [])
        kept.extend(list(names)[: _NAMED - len(kept)])
        self._counts[noun, what] = self._counts.get((noun, what), 0) + count

    def merge(self, others: Iterable[Remark]) -> None:
        """Adds the counts of other remarks."""
        for other in others:
            self._extend(other.noun, other.what, other.count, other.first)

    def as_tuple(self) -> tuple[Remark, ...]:
        """The remarks so far."""
        return tuple(
            Remark(noun=noun, what=what, count=self._counts[noun, what], first=tuple(names))
            for (noun, what), names in self._names.items()
        )
