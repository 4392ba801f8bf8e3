"""Trains and evaluates SSD320 from a pipeline config: ``python object_detection/model_main.py --help``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if not __package__:  # run by its path, from whatever folder: this file's own folder is no place to import from
    folder = Path(__file__).resolve().parent
    sys.path[:] = [str(folder.parent), *(path for path in sys.path if path != str(folder))]

from object_detection.model_command import parse
from runtime.environment import environment_for
from utils.errors import EXIT_USAGE, UsageError
from utils.hooks.preemption import PreemptionHook


def main(arguments: list[str]) -> int:
    """Runs one launch and returns its exit status."""
    try:
        command = parse(arguments, os.environ)
    except UsageError as error:
        print(f"model_main.py: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    os.environ.update(environment_for(command.config, os.environ))
    with PreemptionHook() as preemption:
        from runtime.launch import launch  # imports TensorFlow, which reads the environment once

        return launch(command, preemption)


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # names of files that it cannot show
    sys.exit(main(sys.argv[1:]))
