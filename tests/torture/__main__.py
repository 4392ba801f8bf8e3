"""Hurts the program in random ways for some minutes and prints what it did that it must not do.

Run as ``python -m tests.torture``. Exit status: 0 nothing was found; 1 something was; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.children import Children
from tests.torture.figures import Figures, table

CLEAN, FOUND = 0, 1


class Part(Protocol):
    """Attempts of one kind."""

    def attempt(self, figures: Figures, number: int) -> None:
        """Makes one attempt and counts its faults."""


Maker = Callable[[Children, Path, random.Random], Part]


def parts() -> Mapping[str, tuple[int, Maker]]:
    """Each part with its share of the time and the function that begins it."""
    from tests.torture.inputs import Inputs
    from tests.torture.interruptions import Interruptions
    from tests.torture.ranks import Ranks

    def interruptions(kind: str) -> Maker:
        return lambda children, folder, chance: Interruptions(kind, children, folder, chance)

    return {
        "kills": (2, interruptions("kills")),
        "operations": (2, interruptions("operations")),
        "disks": (1, interruptions("disks")),
        "inputs": (3, Inputs),
        "ranks": (2, Ranks),
    }


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("names", metavar="PART", nargs="*", help="parts to run (default: all)")
    parser.add_argument("--minutes", type=float, default=60.0, help="time of all parts together (default: 60)")
    parser.add_argument("--seed", type=int, help="repeats a run (default: a new one, which is printed)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    known = parts()
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"{unknown[0]}: no such part; there are {', '.join(known)}")
    chosen = options.names or [*known]
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    shares = sum(known[name][0] for name in chosen)
    found = {}
    end = time.monotonic()
    children = Children(["tests.torture.loaded"])
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        for name in chosen:
            share, begin = known[name]
            end += 60 * options.minutes * share / shares  # a part that ends late leaves less to the next
            found[name] = hurt(begin, children, Path(folder) / name, random.Random(f"{seed} {name}"), end)
            print(f"{name}: {found[name].attempts:,} attempts, {found[name].total:,} faults", flush=True)
    print("\n".join(table(found)))
    return FOUND if any(figures.total for figures in found.values()) else CLEAN


def hurt(begin: Maker, children: Children, folder: Path, chance: random.Random, end: float) -> Figures:
    """Makes attempts of one part until a time of the monotonic clock, at least one."""
    folder.mkdir()
    figures = Figures()
    part = begin(children, folder, chance)
    while not figures.attempts or time.monotonic() < end:
        part.attempt(figures, figures.attempts)
        figures.attempts += 1
    return figures


if __name__ == "__main__":
    sys.exit(main())
