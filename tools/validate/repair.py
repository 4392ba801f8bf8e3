"""Writes a repaired copy of a data set: selects the images to leave out, and writes the rest (no TF)."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.validate.dataset_scan import DatasetScan, Source
from tools.validate.findings import KINDS, Finding, Place
from utils.errors import RunError, UsageError
from utils.files.atomic_file import flush_to_disk, temporary_name

LIST_NAME = "repair.json"
_LEAVES_OUT = ("image dropped", "dropped")


def dropped_images(found: DatasetScan) -> frozenset[Place]:
    """The places of the images that a repaired copy leaves out."""
    faulty = {finding.place for finding in found.faults if KINDS[finding.kind].cure in _LEAVES_OUT}
    return frozenset(image.place for image in found.images if image.place in faulty)


def cured(found: DatasetScan) -> list[Finding]:
    """The faults that a repaired copy treats; for an image left out, only the faults that caused it."""
    dropped = dropped_images(found)
    return [
        finding
        for finding in found.faults
        if KINDS[finding.kind].cure in _LEAVES_OUT or (KINDS[finding.kind].cure and finding.place not in dropped)
    ]


def check_target(out: Path, sources: Sequence[Path]) -> None:
    """Refuses a target that is not empty or lies in a source, and sources that would share a name in it.

    Raises:
        UsageError: The target is refused; the message gives the reason.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "is not empty" if out.is_dir() else "is a file"
        raise UsageError(f"--fix {out}: {what}; name a new folder for the repaired copy")
    names = Counter([LIST_NAME, *(_name_of(source) for source in sources)]) if len(sources) > 1 else Counter[str]()
    for name, times in names.most_common(1):
        if times > 1:
            raise UsageError(f"--fix {out}: the copies of two SRC would both be named {name}; check them separately")
    for source in sources:
        place = source.resolve()
        if place == out.resolve() or (place.is_dir() and place in out.resolve().parents):
            raise UsageError(f"--fix {out}: lies in {source}, the source of the copy; name a folder outside it")


def write_repaired(found: DatasetScan, out: Path) -> list[Finding]:
    """Writes the repaired copy, complete or not at all, with a list of the repairs in ``repair.json``.

    A single folder becomes ``out`` itself; beside other sources, a folder becomes a folder in it. Annotation files go
    into ``out``.

    Returns:
        The faults that the copy no longer has.

    Raises:
        RunError: Nothing would be left, or it cannot be written.
    """
    done, dropped = cured(found), dropped_images(found)
    growing = temporary_name(out)
    try:
        shutil.rmtree(growing, ignore_errors=True)
        growing.mkdir(parents=True)
        for source in found.sources:
            source.repair(_folder_of(source, growing, found.sources), found.images, dropped)
        content: list[dict[str, Any]] = [{**one.to_json(), "cure": KINDS[one.kind].cure} for one in done]
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (growing / LIST_NAME).write_text(text + "\n", encoding="utf-8")
        if out.exists():
            out.rmdir()
        growing.replace(out)
        flush_to_disk(out.absolute().parent)
    except OSError as error:
        raise RunError(f"--fix {out}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(growing, ignore_errors=True)
    return done


def _folder_of(source: Source, out: Path, sources: Sequence[Source]) -> Path:
    if len(sources) < 2 or not source.path.is_dir():
        return out
    folder = out / _name_of(source.path)
    folder.mkdir()
    return folder


def _name_of(source: Path) -> str:
    """The name of a source's copy among those of several."""
    return source.resolve().name if source.is_dir() else source.name
