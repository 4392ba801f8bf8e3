"""Rows of a CSV file that a flag names, and its faults as sentences (no TF)."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator
from pathlib import Path

from utils.errors import RunError, UsageError
from utils.files.regular_file import open_regular
from utils.suggestions import path_hint


@contextlib.contextmanager
def csv_rows(
    path: Path, flag: str, form: str, *, wrong: type[RunError | UsageError] = RunError
) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Gives the rows of a file with their numbers, from 1. The body raises ``ValueError`` for a row of another form.

    Args:
        path: The file.
        flag: The flag that names it.
        form: What a row must be.
        wrong: The error for a row of another form.

    Raises:
        RunError: The file cannot be read.
        RunError | UsageError: ``wrong``, with the number and the text of the row.
    """
    latest: tuple[int, list[str]] = (0, [])

    def rows(file: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
        nonlocal latest
        for numbered in enumerate(csv.reader(file), 1):
            latest = numbered  # which a message names
            yield numbered

    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="") as file:
            yield rows(file)
    except OSError as error:
        raise RunError(f"{flag} {path}: cannot be read ({error.strerror}){path_hint(path)}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{flag} {path}: is not text in UTF-8 ({error.reason})") from error
    except (ValueError, csv.Error) as error:
        number, row = latest
        raise wrong(f"{flag} {path}: line {number} is {','.join(row)[:60]!r}; must be {form}") from error
