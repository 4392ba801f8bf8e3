"""Trains and evaluates SSD320 from a pipeline config: ``python object_detection/model_main.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run by its path: import from the repository's root, not from this file's folder
    folder = Path(__file__).resolve().parent
    sys.path[:] = [str(folder.parent), *(path for path in sys.path if path != str(folder))]

from object_detection.model_command import parse
from runtime.entry_point import escape_unencodable_text, run


def main(arguments: list[str]) -> int:
    """Runs one launch and returns its exit status."""
    return run("model_main.py", parse, arguments)


if __name__ == "__main__":
    escape_unencodable_text()
    sys.exit(main(sys.argv[1:]))
