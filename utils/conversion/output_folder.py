"""The folder a conversion writes to: whose it is, one writer at a time, and nothing left of earlier plans (no TF)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from utils.atomic_file import write_atomically
from utils.conversion.sources import plural
from utils.errors import RunError, UsageError
from utils.file_lock import locked
from utils.manifest import CONVERSION_FOLDER, MANIFEST_NAME

_SHARD_NAME = re.compile(r"(train|validation)-\d{5}-of-\d{5}")
_OWN_FILE = re.compile(rf"\.?{_SHARD_NAME.pattern}(\.tmp)?|\.{re.escape(MANIFEST_NAME)}\.tmp")
_SOURCE_FILE = "source"


def explain_write_error(error: OSError, out: Path) -> RunError:
    """The sentence for a write to ``out`` that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"{out}: no space left on the disk; make room, then run the same command again")
    return RunError(f"{out}: cannot be written ({error.strerror or error})")


def check_not_read(out: Path, folders_read: Collection[Path]) -> None:
    """Raises ``UsageError`` where the output would lie among the images, to be read as images by the next run."""
    place = out.resolve()
    for folder in folders_read:
        if place == folder.resolve() or folder.resolve() in place.parents:
            raise UsageError(f"{out}: lies in {folder}, which images are read from; write to a folder outside it")


@contextmanager
def output_folder(out: Path, source: Path, *, overwrite: bool) -> Iterator[None]:
    """Makes the folder where it is missing, makes sure that it is this conversion's, and locks it for the block.

    Raises:
        UsageError: it holds the records of another source, or some of unknown origin, and ``overwrite`` is not set.
        RunError: it cannot be written, or another conversion is writing to it.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file, not a folder to write to")
    state = out / CONVERSION_FOLDER
    owner = source.resolve()
    with ExitStack() as held:
        try:
            _refuse_foreign(out, os.fsencode(owner), overwrite)
            state.mkdir(parents=True, exist_ok=True)
            held.enter_context(
                locked(state / "lock", f"{out}: another conversion is writing to it; wait for it to end")
            )
            if overwrite:
                clear(out)
            write_atomically(state / _SOURCE_FILE, os.fsencode(owner))
        except OSError as error:
            raise explain_write_error(error, out) from error
        yield


def _refuse_foreign(out: Path, owner: bytes, overwrite: bool) -> None:
    if overwrite or not out.is_dir():
        return
    present = sorted(path.name for path in out.iterdir() if path.name == MANIFEST_NAME or _is_shard(path.name))
    if not present:
        return
    record = out / CONVERSION_FOLDER / _SOURCE_FILE
    before = record.read_bytes() if record.is_file() else None
    if before == owner:
        return
    whose = "not written by this converter" if before is None else f"converted from {os.fsdecode(before)}"
    raise UsageError(
        f"{out}: already holds a data set {whose} ({plural(len(present), 'file')}, {present[0]} first); "
        "name another folder, or give --overwrite to replace it"
    )


def _is_shard(name: str) -> bool:
    return _SHARD_NAME.fullmatch(name) is not None


def clear(out: Path, keep: Collection[str] = ()) -> int:
    """Removes the manifest and every shard that is not in ``keep``, with what was noted of them.

    Returns:
        How many shards were removed.
    """
    (out / MANIFEST_NAME).unlink(missing_ok=True)  # first: it must never describe files that are going
    removed = 0
    for path in list(out.iterdir()):
        if _OWN_FILE.fullmatch(path.name) and path.name not in keep:
            path.unlink()
            removed += _is_shard(path.name)
    for path in list((out / CONVERSION_FOLDER).iterdir()):
        if _is_shard(path.stem) and path.stem not in keep:
            path.unlink()
    return removed
