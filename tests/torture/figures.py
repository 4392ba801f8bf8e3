"""The figures of a torture run: how often a program was hurt, and what it did that it must not do."""

from __future__ import annotations

from dataclasses import dataclass, field

KINDS = ("tracebacks", "hangs", "silent differences", "lost steps")


@dataclass(slots=True)
class Figures:
    """The outcome of the attempts of one part.

    Attributes:
        attempts: Number of attempts.
        faults: For each of ``KINDS``, one text for each fault: how to repeat it, and what was seen.
    """

    attempts: int = 0
    faults: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    @property
    def total(self) -> int:
        """Number of faults."""
        return sum(map(len, self.faults.values()))

    def found(self, kind: str, text: str) -> None:
        """Counts a fault of a kind."""
        self.faults[kind].append(text)


def table(parts: dict[str, Figures]) -> list[str]:
    """The lines of a table, one for each part, and the faults below it."""
    wide = max(map(len, parts))
    head = f"{'part':{wide}}  {'attempts':>8}  " + "  ".join(KINDS)
    rows = [
        f"{name:{wide}}  {figures.attempts:8,}  "
        + "  ".join(f"{len(figures.faults[kind]):{len(kind)},}" for kind in KINDS)
        for name, figures in parts.items()
    ]
    faults = [
        f"{name}: {kind}: {text}"
        for name, figures in parts.items()
        for kind, texts in figures.faults.items()
        for text in texts
    ]
    return [head, *rows, *faults]
