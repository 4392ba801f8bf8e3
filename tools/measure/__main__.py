"""Runs a measurement by its name: python -m tools.measure NAME [ARGUMENT ...] (no TF)."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import runpy

from tools.command import CommandParser

MEASUREMENTS = ("benchmark_table", "compare", "convolutions", "scaling_model", "soak")


def make_parser() -> argparse.ArgumentParser:
    """The command line up to the name; the measurement reads the rest."""
    parser = CommandParser(
        prog="python -m tools.measure",
        description="Runs a measurement. Its --help describes it: python -m tools.measure soak --help.",
    )
    parser.add_argument("name", metavar="NAME", choices=MEASUREMENTS, help=f"one of {', '.join(MEASUREMENTS)}")
    parser.add_argument("arguments", metavar="ARGUMENT", nargs="*", help="the measurement's own arguments")
    return parser


def main(arguments: list[str]) -> None:
    """Runs the measurement, which ends the process with its exit status."""
    name = make_parser().parse_args(arguments[:1]).name
    sys.argv[1:] = arguments[1:]
    runpy.run_module(f"tools.measure.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
