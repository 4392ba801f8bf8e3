"""The common part of the commands that convert: flags of the output, exit statuses and log (no TF)."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from tools.command import run_command

EXIT_TEXT = """\
Exit status: 0 done; 1 failed, complete shards are kept; 2 wrong usage; 3 done, unreadable images left out;
75 interrupted, complete shards are kept and the same command continues.
"""


def add_output_flags(add: Callable[..., object], out: str) -> None:
    """Adds the flags on how to write; ``out`` is what the command line calls the output folder."""
    cpus = len(os.sched_getaffinity(0))
    add("--workers", metavar="N", type=int, default=cpus, help="processes (default: one a CPU)")
    add("--skip_unreadable", action="store_true", help="leave images out that cannot be read, and list them")
    add("--overwrite", action="store_true", help=f"replace whatever data set {out} holds; starts from nothing")


def run_conversion(action: Callable[[], int]) -> int:
    """``run_command`` for a conversion, with its log on standard error."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command(action, interrupted="complete shards are kept, and the same command continues")
