"""Trains, evaluates, predicts with and benchmarks image classifiers and SSD320: ``python main.py --help``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from utils.program import begin

    begin()

from runtime.entry_point import run
from utils.cmdline_helper import parse
from utils.errors import EXIT_USAGE
from utils.flags.help import overview


def main(arguments: list[str]) -> int:
    """Runs one launch and returns its exit status; without arguments, explains the modes as a usage error."""
    if not arguments:
        print(overview(), end="", file=sys.stderr)
        return EXIT_USAGE
    return run("main.py", parse, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
