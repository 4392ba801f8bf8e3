"""Trains, evaluates, predicts with and benchmarks image classifiers and SSD320: ``python main.py --help``."""

from __future__ import annotations

import sys

from runtime.entry_point import escape_unencodable_text, run
from utils.cmdline_helper import parse


def main(arguments: list[str]) -> int:
    """Runs one launch and returns its exit status."""
    return run("main.py", parse, arguments)


if __name__ == "__main__":
    escape_unencodable_text()
    sys.exit(main(sys.argv[1:]))
