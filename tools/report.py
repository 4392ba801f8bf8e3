"""Writes the report of a run, or compares several: python -m tools.report RUN [RUN ...] --output report.html."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
from collections.abc import Sequence

from tools.command import CommandParser, run_command
from utils.errors import EXIT_DONE, EXIT_SOME_SKIPPED, RunError, UsageError
from utils.files.atomic_file import write_atomically
from utils.reporting.comparison import comparison_page, ranked_runs
from utils.reporting.paired_tests import paired_tests, sentence
from utils.reporting.run_log import Run, read_run
from utils.reporting.run_page import REPORT_NAME, run_page
from utils.text import one_line


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m tools.report",
        description="Writes one HTML file, readable offline, about one run or several side by side.",
        epilog="Exit status: 0 done; 1 failed; 2 wrong usage; 3 done, some runs could not be read and are left out, or "
        "were evaluated on different images and are not compared.",
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="the folder of a run's log, or the log itself"
    )
    parser.add_argument(
        "--output", type=Path, default=Path(REPORT_NAME), help="the file to write (default: %(default)s)"
    )
    return parser


def run(places: Sequence[Path], output: Path) -> int:
    """Writes the report, prints its path, and returns the exit status.

    Raises:
        UsageError: The output is a folder, or one of the logs.
        RunError: No run can be read, or the file cannot be written.
    """
    if output.is_dir():
        raise UsageError(f"--output {output}: is a folder; name the file to write")
    runs, faults = _read(places)
    if not runs:
        raise RunError(faults[0])
    if output.resolve() in {one.path.resolve() for one in runs}:
        raise UsageError(f"--output {output}: is the log of a run; name another file")
    for fault in faults:
        print(f"left out: {one_line(fault)}", file=sys.stderr)
    content, refused = _content(runs)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output, content)
    except OSError as error:
        raise RunError(f"--output {output}: cannot be written: {error.strerror}") from error
    print(f"{one_line(str(output))}: {len(runs)} run{'s' if len(runs) > 1 else ''}, {len(content) / 1e6:.1f} MB")
    return EXIT_SOME_SKIPPED if faults or refused else EXIT_DONE


def _content(runs: Sequence[Run]) -> tuple[bytes, bool]:
    """The page; prints the tests between several runs, and returns whether some were refused."""
    if len(runs) == 1:
        return run_page(runs[0]), False
    ranked = ranked_runs(runs)
    tests = paired_tests(ranked)
    for test in tests.pairs:
        print(one_line(sentence(test, len(tests.pairs))))
    for told in (*tests.refused, *tests.without_results()):
        print(one_line(told), file=sys.stderr)
    return comparison_page(ranked, tests), bool(tests.refused)


def _read(places: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Reads each path once; returns the runs, and an error message for each path without a run."""
    runs, faults = [], []
    for place in dict.fromkeys(places):
        try:
            runs.append(read_run(place))
        except RunError as error:
            faults.append(str(error))
    return runs, faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    return run_command(lambda: run(options.runs, options.output))


if __name__ == "__main__":
    sys.exit(main())
