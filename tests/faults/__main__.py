"""Puts one fault after the other into a copy of the clone and says which test notices it.

Run as ``python -m tests.faults [NAME ...]``. It takes far longer than the tests do, so it is no part of them. Exit
status: 0 all were caught; 1 one was not, or the tests fail without any fault; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.catalogue import AREAS, ROOT, Fault, read_faults
from tests.faults.scratch import Outcome, Scratch

CAUGHT, MISSED, USAGE = 0, 1, 2


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help="faults to try (default: all)")
    parser.add_argument("--list", action="store_true", help="list the faults and try none")
    parser.add_argument("--area", choices=AREAS, action="append", help="only those of a package; may be repeated")
    parser.add_argument("-x", "--exitfirst", action="store_true", help="end at the first one that is not caught")
    return parser


def chosen(faults: Sequence[Fault], options: argparse.Namespace) -> list[Fault]:
    """The faults that were asked for.

    Raises:
        ValueError: There is none of a name.
    """
    known = {fault.name for fault in faults}
    for name in options.names:
        if name not in known:
            raise ValueError(f"{name}: no such fault; --list shows them")
    names, areas = set(options.names) or known, set(options.area or AREAS)
    return [fault for fault in faults if fault.name in names and fault.area in areas]


def try_all(faults: Sequence[Fault], clone: Path, *, exit_first: bool) -> int:
    """Prints a row for each fault, and a summary; returns the exit status."""
    started, caught = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        scratch = Scratch(clone, Path(folder) / "clone")
        sound = scratch.run(sorted({test for fault in faults for test in fault.tests}))
        if sound.caught_by or sound.trouble:
            print(f"error: without any fault the tests fail: {sound.caught_by or sound.trouble}", file=sys.stderr)
            return MISSED
        print(f"{'no fault':<42}  the tests pass  {sound.seconds:.0f} s", flush=True)
        for fault in faults:
            with scratch.spoilt(fault):
                outcome = scratch.run(fault.tests)
            caught += bool(outcome.caught_by)
            print(_row(fault, outcome), flush=True)
            if exit_first and not outcome.caught_by:
                break
    minutes = (time.monotonic() - started) / 60
    print(f"{caught} of {len(faults)} faults caught, {minutes:.1f} min")
    return CAUGHT if caught == len(faults) else MISSED


def _row(fault: Fault, outcome: Outcome) -> str:
    verdict = outcome.caught_by or f"NOT CAUGHT{outcome.trouble and ': ' + outcome.trouble}"
    return f"{fault.name:<42}  {fault.area:<16}  {fault.file:<44}  {verdict}  {outcome.seconds:.0f} s"


def main(arguments: Sequence[str] | None = None, clone: Path = ROOT) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    try:
        faults = chosen(read_faults(clone / "tests" / "faults"), options)
        if not faults:
            raise ValueError("none of these faults is in these areas")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    if options.list:
        for fault in faults:
            print(f"{fault.name:<42}  {fault.area:<16}  {fault.file:<44}  {fault.why}")
        print(f"{len(faults)} faults")
        return CAUGHT
    return try_all(faults, clone, exit_first=options.exitfirst)


if __name__ == "__main__":
    sys.exit(main())
