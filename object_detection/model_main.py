"""Trains and evaluates SSD320 from a pipeline config: ``python object_detection/model_main.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # also where it is started by its path
    from utils.program import begin

    begin()

from object_detection.model_command import parse
from runtime.entry_point import run


def main(arguments: list[str]) -> int:
    """Runs one launch and returns its exit status."""
    return run("model_main.py", parse, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
