"""The place of an artefact until it has been compared with its checkpoint: the subfolder ``unverified`` (no TF)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from utils.errors import RunError
from utils.files.atomic_file import make_folder_inside, move_into_place, remove_whatever

UNVERIFIED = "unverified"


@contextlib.contextmanager
def unverified(target: Path, name: str) -> Iterator[Path]:
    """Yields the path to write an artefact to: ``unverified/<name>/<file>`` beside ``target``.

    An artefact that ``accept`` does not move stays there until the next export of the same name, also if it cannot be
    opened or run. What an interruption or a full disk leaves of one is removed.

    Raises:
        OSError: The folder cannot be created.
    """
    top = make_folder_inside(target.parent, UNVERIFIED)
    remove_whatever(top / name)
    folder = make_folder_inside(top, name)
    try:
        yield folder / target.name
    except BaseException as error:
        if not isinstance(error, RunError):
            remove_whatever(folder)
        raise
    finally:
        for empty in (folder, top):
            with contextlib.suppress(OSError):
                empty.rmdir()


def accept(path: Path, target: Path) -> None:
    """Moves an artefact that passed its comparison, and the files beside it, to ``target``; the artefact comes last.

    Raises:
        OSError: A file cannot be moved.
    """
    for part in sorted(path.parent.iterdir(), key=lambda part: part == path):
        move_into_place(part, target.with_name(part.name))
