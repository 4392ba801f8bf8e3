"""Finds the faults of a data set, with a reason for each file, and writes a copy without them.

Each SRC is a folder of TFRecords, a folder of images in class folders, or an annotation file in COCO's format. Several
form one data set, like COCO's training and validation files.

Exit status: 0 clean; 1 faults found, or the check failed; 2 wrong usage; 75 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import functools
import json
import logging
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tools.command import CommandParser, require_no_input, run_command
from tools.convert.command_line import add_box_flags
from utils.errors import EXIT_DONE, EXIT_FAILED, RunError, UsageError, require
from utils.suggestions import path_hint

if TYPE_CHECKING:
    from tools.validate.dataset_scan import Source

_NAMED = 5


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(prog="python -m tools.validate", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("sources", metavar="SRC", nargs="+", type=Path, help="folder of TFRecords or of images, or COCO's JSON file")
    add("--fix", metavar="REPAIRED", type=Path, help="write a copy without the faults to this new folder")
    add("--json", metavar="FILE", type=Path, help="write every finding to this file")
    add("--named", metavar="N", type=int, default=_NAMED, help="findings to name per kind (default: %(default)s)")
    cpus = len(os.sched_getaffinity(0))
    add("--workers", metavar="N", type=int, default=cpus, help="processes (default: one per CPU)")
    kinds = parser.add_argument_group("flags for some kinds of SRC").add_argument
    kinds(
        *("--dali", "--data_idx_dir"),
        metavar="INDEX",
        type=Path,
        help="folder of DALI's index files to check (default: .dali_idx beside the records, if present)",
    )
    kinds("--label_map", metavar="FILE", type=Path, help="categories of detection records without dataset.json")
    kinds(
        "--multi_label",
        action="store_true",
        help="images of classification records without dataset.json may have several labels, or none",
    )
    kinds(
        "--image_dir",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="folder of the images of a JSON file; repeat it for each file, in order (default: found near the file)",
    )
    kinds("--validation_labels", metavar="FILE", type=Path, help="labels of validation images without class folders")
    add_box_flags(parser.add_argument_group("reading of the boxes of JSON files").add_argument)
    return parser


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line.

    Raises:
        UsageError: A number is out of range, or a flag is for another kind of SRC.
    """
    flags = make_parser().parse_args(arguments)
    require(flags.workers > 0, "workers", flags.workers, "a positive integer")
    require(flags.named >= 0, "named", flags.named, "0 or more")
    files = [source for source in flags.sources if source.is_file() or source.suffix == ".json"]
    if flags.image_dir and len(flags.image_dir) != len(files):
        raise UsageError(
            f"--image_dir {flags.image_dir[-1]}: {len(flags.image_dir)} given for {len(files)} JSON files; one per file"
        )
    for folder in flags.image_dir:
        if not folder.is_dir():
            raise UsageError(f"--image_dir {folder}: no such folder{path_hint(folder)}")
    if flags.dali is not None and not flags.dali.is_dir():
        makes = "`bash utils/dali_index.sh SRC INDEX` makes it"
        raise UsageError(f"--dali {flags.dali}: no such folder; {makes}{path_hint(flags.dali)}")
    given = (flags.label_map, flags.validation_labels)
    require_no_input("--json", flags.json, [*flags.sources, *filter(None, given)])
    if len({source.resolve() for source in flags.sources}) < len(flags.sources):
        raise UsageError(f"SRC {flags.sources[-1]}: a source is given twice")
    return flags


def open_sources(flags: argparse.Namespace) -> list[Source]:
    """The sources, each of its own kind.

    Raises:
        UsageError: A source does not exist, or a flag does not fit.
        RunError: One is not a data set.
    """
    from tools.convert.box_frame import AUTO
    from tools.validate.coco_source import CocoSource
    from tools.validate.folder_source import FolderSource
    from tools.validate.label_rules import make_label_rules
    from tools.validate.object_rules import make_object_rules
    from tools.validate.record_source import MakeRules, RecordSource
    from utils.records.manifest import MANIFEST_NAME
    from utils.records.record_files import split_files_by_name

    tasks: dict[str, MakeRules] = {
        "classification": functools.partial(make_label_rules, several=flags.multi_label),
        "detection": functools.partial(make_object_rules, label_map=flags.label_map),
    }
    image_dirs = iter(flags.image_dir)
    sources: list[Source] = []
    for path in flags.sources:
        if not path.exists():
            raise UsageError(f"SRC {path}: no such file or folder{path_hint(path)}")
        if not path.is_dir():
            _check_annotation_file(path)
            sources.append(
                CocoSource(path, next(image_dirs, None), box_format=flags.box_format, boxes_are=flags.boxes_are)
            )
        elif (path / MANIFEST_NAME).exists() or split_files_by_name(path):
            sources.append(RecordSource(path, tasks, flags.dali))
        else:
            sources.append(FolderSource(path, flags.validation_labels))
    if len({source.task for source in sources}) > 1:
        raise UsageError("SRC: some are for classification and some for detection; check them separately")
    used = {
        "dali": any(isinstance(source, RecordSource) for source in sources),
        "label_map": any(isinstance(source, RecordSource) and source.task == "detection" for source in sources),
        "multi_label": any(isinstance(one, RecordSource) and one.task == "classification" for one in sources),
        "validation_labels": any(isinstance(source, FolderSource) for source in sources),
    }
    used |= dict.fromkeys(("box_format", "boxes_are"), any(isinstance(source, CocoSource) for source in sources))
    for name, makes_sense in used.items():
        value = getattr(flags, name)
        if value not in (None, False, AUTO) and not makes_sense:
            shown = "" if value is True else f" {value}"
            raise UsageError(f"--{name}{shown}: no SRC is of a kind that uses this flag")
    return sources


def _check_annotation_file(path: Path) -> None:
    """Refuses a file that is certainly no annotation file.

    Raises:
        UsageError: It is a record file.
        RunError: It is no regular file, or a file of a well-known other kind.
    """
    from utils.files.file_kind import kind_of_file
    from utils.records.tfrecord_file import is_record_file

    if is_record_file(path):
        raise UsageError(f"SRC {path}: is a record file; give the folder that holds it: {path.parent}")
    try:
        kind = kind_of_file(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    if kind:
        raise RunError(f"{path}: is {kind}")


def run(flags: argparse.Namespace) -> int:
    """Checks the sources, prints the summary, writes the requested files, and returns the exit status."""
    # Imported here so that --help and usage errors answer at once.
    from tools.validate.dataset_scan import scan_dataset
    from tools.validate.repair import check_target, write_repaired
    from tools.validate.summary import repair_lines, result_line, summary_lines, to_json

    started = time.monotonic()
    if flags.fix is not None:
        check_target(flags.fix, flags.sources)
    found = scan_dataset(open_sources(flags), flags.workers)
    for line in summary_lines(found, named=flags.named):
        print(line)
    content = to_json(found)
    print(f"{result_line(found)}; {time.monotonic() - started:.1f} s", flush=True)
    if flags.fix is not None:
        done = write_repaired(found, flags.fix)
        content["cured"] = [finding.to_json() for finding in done]
        print(f"{flags.fix}: the repaired copy; {len(done):,} faults cured:" if done else f"{flags.fix}: the copy")
        for line in repair_lines(done, named=flags.named):
            print(f"  {line}")
        if uncured := [finding for finding in found.faults if finding not in set(done)]:
            print(f"  not cured: {', '.join(sorted({finding.kind for finding in uncured}))}")
    if flags.json is not None:
        _write_json(flags.json, content)
    return EXIT_FAILED if found.faults else EXIT_DONE


def _write_json(path: Path, content: object) -> None:
    from utils.files.atomic_file import write_atomically

    try:
        write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise RunError(f"--json {path}: cannot be written ({error.strerror})") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command(lambda: run(parse_arguments(arguments)), interrupted="nothing was written")


if __name__ == "__main__":
    sys.exit(main())
