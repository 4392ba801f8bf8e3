"""The output folder of a conversion: its owner, its lock, and the removal of an earlier plan's files (no TF)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from utils.errors import RunError, UsageError
from utils.files.atomic_file import write_atomically
from utils.files.file_lock import locked
from utils.records.manifest import CONVERSION_FOLDER, LABEL_MAP_NAME, MANIFEST_NAME
from utils.text import plural

_SHARD_NAME = re.compile(r"(?:train-|validation-|coco_(?:train|val|testdev)\.record-)\d{5}-of-\d{5}")
_BESIDE = (LABEL_MAP_NAME, MANIFEST_NAME)
_TEMPORARY = "|".join(re.escape(f".{name}.tmp") for name in _BESIDE)
_OWN_FILE = re.compile(rf"\.?{_SHARD_NAME.pattern}(\.tmp)?|{re.escape(LABEL_MAP_NAME)}|{_TEMPORARY}")
_SOURCE_FILE = "source"
_BETWEEN = b"\0"  # the one byte that no path contains


def explain_write_error(error: OSError, out: Path) -> RunError:
    """The error for a failed write to ``out``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"{out}: no space left on the disk; make room, then run the same command again")
    return RunError(f"{out}: cannot be written ({error.strerror or error})")


def check_not_read(out: Path, folders_read: Collection[Path]) -> None:
    """Checks that the output lies outside the folders of images, where the next run would read it.

    Raises:
        UsageError: It lies in one of them.
    """
    place = out.resolve()
    for folder in folders_read:
        if place == folder.resolve() or folder.resolve() in place.parents:
            raise UsageError(f"{out}: lies in {folder}, which images are read from; write to a folder outside it")


@contextmanager
def output_folder(out: Path, sources: Sequence[Path], *, overwrite: bool) -> Iterator[None]:
    """Creates the folder if missing, checks that this conversion owns it, and locks it for the block.

    A conversion also owns a folder converted from some of its sources, so that a split can be added.

    Raises:
        UsageError: It holds records of another or an unknown source, and ``overwrite`` is not set.
        RunError: It cannot be written, or another conversion is writing to it.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file, not a folder to write to")
    state = out / CONVERSION_FOLDER
    owner = {os.fsencode(source.resolve()) for source in sources}
    with ExitStack() as held:
        try:
            _check_ownership(out, owner, overwrite)
            state.mkdir(parents=True, exist_ok=True)
            held.enter_context(
                locked(state / "lock", f"{out}: another conversion is writing to it; wait for it to end")
            )
            if overwrite:
                clear(out)
            write_atomically(state / _SOURCE_FILE, _BETWEEN.join(sorted(owner)))
        except OSError as error:
            raise explain_write_error(error, out) from error
        yield


def _check_ownership(out: Path, owner: Collection[bytes], overwrite: bool) -> None:
    if overwrite or not out.is_dir():
        return
    present = sorted(path.name for path in out.iterdir() if path.name in _BESIDE or _is_shard(path.name))
    if not present:
        return
    record = out / CONVERSION_FOLDER / _SOURCE_FILE
    before = record.read_bytes().split(_BETWEEN) if record.is_file() else []
    if before and set(before) <= set(owner):
        return
    whose = f"converted from {', '.join(map(os.fsdecode, before))}" if before else "not written by this converter"
    raise UsageError(
        f"{out}: already holds a data set {whose} ({plural(len(present), 'file')}, {present[0]} first); "
        "name another folder, or give --overwrite to replace it"
    )


def _is_shard(name: str) -> bool:
    return _SHARD_NAME.fullmatch(name) is not None


def clear(out: Path, keep: Collection[str] = ()) -> int:
    """Removes the manifest, the label map, and every shard not in ``keep`` with its state file.

    Returns:
        The number of removed shards.
    """
    (out / MANIFEST_NAME).unlink(missing_ok=True)  # first, so that it never describes removed files
    removed = 0
    for path in list(out.iterdir()):
        if _OWN_FILE.fullmatch(path.name) and path.name not in keep:
            path.unlink()
            removed += _is_shard(path.name)
    for path in list((out / CONVERSION_FOLDER).iterdir()):
        if _is_shard(path.stem) and path.stem not in keep:
            path.unlink()
    return removed
