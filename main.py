"""Trains, evaluates, predicts with and benchmarks image classifiers and SSD320: ``python main.py --help``."""

from __future__ import annotations

import sys

from runtime.entry_point import run, show_any_name
from utils.cmdline_helper import parse


def main(arguments: list[str]) -> int:
    """Runs one launch and returns its exit status."""
    return run("main.py", parse, arguments)


if __name__ == "__main__":
    show_any_name()
    sys.exit(main(sys.argv[1:]))
