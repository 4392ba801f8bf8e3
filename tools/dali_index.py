"""Writes a DALI index for every TFRecord file of a folder.

The index of SRC/train-00000-of-00004 is DST/train-00000-of-00004. An existing index that matches its records is kept,
so the same command continues after an interruption.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse

from tools.command import CommandParser, run_command
from utils.errors import EXIT_DONE, RunError
from utils.records.manifest import read_manifest
from utils.records.record_files import files_by_name
from utils.records.record_index import write_index
from utils.suggestions import path_hint
from utils.text import printable

PROGRAM = "python -m tools.dali_index" if __package__ else "bash utils/dali_index.sh"  # which starts it by its path


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("source", metavar="SRC", type=Path, help="folder of TFRecord files")
    parser.add_argument("destination", metavar="DST", type=Path, help="folder for the index files; created if missing")
    return parser


def record_files(folder: Path) -> list[Path]:
    """The record files of a folder: those in its manifest or, without a manifest, those named like a split's files.

    Raises:
        RunError: The folder does not exist or has no record files.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "no such folder"
        raise RunError(f"{folder}: {what}; SRC must hold TFRecords{path_hint(folder)}")
    manifest = read_manifest(folder)
    if manifest is None:
        paths = files_by_name(folder)
    else:
        paths = [folder / shard.file for split in manifest.splits.values() for shard in split.shards]
    if not paths:
        raise RunError(f"{folder}: no file is named train-*, validation-* or coco_*, and there is no dataset.json")
    return paths


def run(source: Path, destination: Path) -> int:
    """Writes the index files, prints a line for each, and returns the exit status.

    Raises:
        RunError: A record file is missing or broken, or SRC and DST are one folder.
        OSError: An index file cannot be written.
    """
    paths = record_files(source)
    if destination.exists() and destination.resolve() == source.resolve():
        raise RunError(
            f"{destination}: DST is SRC, but an index has the same name as its record file; give another folder"
        )
    for number, path in enumerate(paths, start=1):
        wrote = write_index(path, destination / path.name)
        what = "written" if wrote else "already up to date"
        print(f"{number} of {len(paths)}: {printable(str(destination / path.name))}: {what}", flush=True)
    return EXIT_DONE


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    flags = make_parser().parse_args(arguments)
    return run_command(lambda: run(flags.source, flags.destination), interrupted="the same command continues")


if __name__ == "__main__":
    sys.exit(main())
