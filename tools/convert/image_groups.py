"""Groups of images that belong together, such as the photographs of one person, from a CSV file (no TF)."""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

from tools.convert.sources import SourceSet
from utils.errors import RunError, UsageError
from utils.files.regular_file import open_regular
from utils.suggestions import path_hint
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
    row: list[str] = []
    number = 0
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):
                name, group = (text.strip() for text in row or ("", ""))
                if groups.setdefault(name, group) != group:
                    raise UsageError(f"--groups {path}: line {number} gives {name} another group than before")
    except OSError as error:
        raise RunError(f"--groups {path}: cannot be read ({error.strerror}){path_hint(path)}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"--groups {path}: is not text in UTF-8 ({error.reason})") from error
    except (ValueError, csv.Error) as error:
        raise UsageError(
            f"--groups {path}: line {number} is {','.join(row)[:60]!r}; must be file name,group"
        ) from error
    return groups
