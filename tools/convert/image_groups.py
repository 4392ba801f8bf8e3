"""Groups of images that belong together, such as the photographs of one person, from a CSV file (no TF)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tools.convert.csv_rows import csv_rows
from tools.convert.sources import SourceSet
from utils.errors import UsageError
from utils.text import first_few, plural


def read_groups(path: Path, sources: SourceSet) -> dict[str, str]:
    """The group of each image by its name below the source folder.

    The file has lines "file name,group" without a header; a file name may be a path below the source folder.

    Raises:
        UsageError: A line has another form, or an image has no group.
        RunError: The file cannot be read.
    """
    listed = _lines(path)
    names = [image.name for classes in sources.splits.values() for images in classes.values() for image in images]
    found = {name: listed.get(name) or listed.get(PurePosixPath(name).name, "") for name in names}
    lacking = sorted(name for name, group in found.items() if not group)
    if lacking:
        raise UsageError(f"--groups {path}: has no group for {plural(len(lacking), 'image')}: {first_few(lacking)}")
    return found


def _lines(path: Path) -> dict[str, str]:
    groups: dict[str, str] = {}
    with csv_rows(path, "--groups", "file name,group", wrong=UsageError) as rows:
        for number, row in rows:
            name, group = (text.strip() for text in row or ("", ""))
            if groups.setdefault(name, group) != group:
                raise UsageError(f"--groups {path}: line {number} gives {name} another group than before")
    return groups
