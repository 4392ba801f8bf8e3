"""Puts one fault after another into a copy of the clone and reports the test that catches it.

Run as ``python -m tests.faults [NAME ...]``. It takes far longer than the tests, so it is not part of them. Exit
status: 0 all faults were caught; 1 one was not, or only by a test that also fails without it; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.catalogue import AREAS, ROOT, Fault, read_faults
from tests.faults.scratch import Outcome, Scratch

CAUGHT, MISSED, USAGE = 0, 1, 2


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help="faults to try (default: all)")
    parser.add_argument("--list", action="store_true", help="list the faults and try none")
    parser.add_argument(
        "--area", choices=AREAS, action="append", help="try only the faults of a package; may be repeated"
    )
    parser.add_argument("-x", "--exitfirst", action="store_true", help="stop at the first fault that is not caught")
    return parser


def chosen(faults: Sequence[Fault], options: argparse.Namespace) -> list[Fault]:
    """The requested faults.

    Raises:
        ValueError: No fault has one of the names.
    """
    known = {fault.name for fault in faults}
    for name in options.names:
        if name not in known:
            raise ValueError(f"{name}: no such fault; --list shows them")
    names, areas = set(options.names) or known, set(options.area or AREAS)
    return [fault for fault in faults if fault.name in names and fault.area in areas]


def try_all(faults: Sequence[Fault], clone: Path, *, exit_first: bool) -> int:
    """Prints a row for each fault, and a summary; returns the exit status."""
    started = time.monotonic()
    caught: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        scratch = Scratch(clone, Path(folder) / "clone")
        for fault in faults:
            with scratch.spoilt(fault):
                outcome = scratch.run(fault.tests)
            print(_row(fault, outcome), flush=True)
            if outcome.failed:
                caught[fault.name] = outcome.failed[0]
            elif exit_first:
                break
        for name in _falsely_caught(scratch, caught):
            print(f"NOT CAUGHT: {name}: {caught.pop(name)} also fails without it", flush=True)
    minutes = (time.monotonic() - started) / 60
    print(f"{len(caught)} of {len(faults)} faults caught, {minutes:.1f} min")
    return CAUGHT if len(caught) == len(faults) else MISSED


def _falsely_caught(scratch: Scratch, caught: Mapping[str, str]) -> list[str]:
    """The faults whose test also fails without them; ``caught`` maps each fault to its test."""
    functions = {name: test.partition("[")[0] for name, test in caught.items() if "::" in test}
    if not functions:
        return []
    sound = scratch.run(sorted(set(functions.values())), to_the_end=True)
    if sound.trouble:
        print(f"error: without faults the tests do not run: {sound.trouble}", file=sys.stderr)
    return [name for name in functions if sound.trouble or caught[name] in sound.failed]


def _row(fault: Fault, outcome: Outcome) -> str:
    verdict = outcome.failed[0] if outcome.failed else f"NOT CAUGHT{outcome.trouble and ': ' + outcome.trouble}"
    return f"{fault.name:<42}  {fault.area:<16}  {fault.file:<44}  {verdict}  {outcome.seconds:.0f} s"


def main(arguments: Sequence[str] | None = None, clone: Path = ROOT) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    try:
        faults = chosen(read_faults(clone / "tests" / "faults"), options)
        if not faults:
            raise ValueError("none of the named faults is in the given areas")
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
