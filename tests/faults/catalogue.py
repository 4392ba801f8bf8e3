"""Faults that the tests must catch: one changed line each, in one table per package (``<area>.toml``)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
AREAS = ("model", "object_detection", "runtime", "utils", "tools")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A plausible defect.

    Attributes:
        name: A unique name.
        area: The package of the file.
        why: The harm that the fault would do.
        file: Path in the clone.
        before: A text that the file holds exactly once.
        after: The faulty text that replaces it.
        tests: Test files, or single tests as ``file::test``; one of them must fail.
    """

    name: str
    area: str
    why: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def apply(self, text: str) -> str:
        """The content of the file with the fault in it.

        Raises:
            ValueError: The file does not hold the text to replace exactly once.
        """
        times = text.count(self.before)
        if times != 1:
            raise ValueError(f"{self.name}: {self.file} holds {self.before!r} {times} times; must hold it once")
        return text.replace(self.before, self.after)


def read_faults(folder: Path = Path(__file__).parent) -> tuple[Fault, ...]:
    """The faults of all areas, in the order of the tables."""
    return tuple(
        Fault(name=name, area=area, **{**row, "tests": tuple(row["tests"])})
        for area in AREAS
        for name, row in tomllib.loads((folder / f"{area}.toml").read_text(encoding="utf-8")).items()
    )
