"""Checkpoints that are complete or absent on disk, with a JSON file beside the weights.

A checkpoint of step N is ``model.ckpt-N.{data-00000-of-00001,index,json}``. It is written to a hidden folder, flushed
to disk and moved into place, the index last: TensorFlow sees a checkpoint by its index. Only then does the
``checkpoint`` state file name it. A process killed at any moment leaves the older checkpoints intact. ``best/`` holds
the best one.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from utils.errors import CheckpointError, RunError, UsageError, reason
from utils.files.atomic_file import flush_to_disk, temporary_name, write_atomically
from utils.files.file_kind import kind_of_file
from utils.files.file_lock import locked
from utils.files.writable import require_writable
from utils.hooks.hook import Hook
from utils.suggestions import hint
from utils.weights.checkpoint_files import (
    BEST,
    SUFFIXES,
    checksums_of,
    read_metadata,
    sealed,
    steps_in,
    stored_checksums,
)
from utils.weights.description import PREFIX

tf1 = tf.compat.v1
_log = logging.getLogger(__name__)

STATE = "checkpoint"
SECONDS_BETWEEN_LOOKS = 2.0
_STAGING = ".saving-"
_PART = re.compile(r"\.(index|json|meta|data-\d{5}-of-\d{5})$")
_TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".tar")
_TABLE_END = bytes.fromhex("57fb808b247547db")


class CheckpointDir:
    """The checkpoints of one run in one folder: the ``keep`` newest ones and the best one.

    Args:
        folder: The folder.
        keep: The number of checkpoints to keep.
        flag: The flag or argument that names the folder, for messages.
    """

    def __init__(self, folder: Path, keep: int, flag: str = "--model_dir or --results_dir") -> None:
        self.folder = folder
        self._keep = keep
        self._flag = flag

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Creates the folder and keeps other launches from training in it until the block ends.

        Raises:
            UsageError: The folder cannot be created or is not writable.
            RunError: Another process is training in it.
        """
        with ExitStack() as held:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.folder, self._refusal))
            except OSError as error:
                raise self._unwritable(error) from error
            yield

    def check(self) -> None:
        """Refuses the folder if ``reserved`` would, but writes nothing.

        Raises:
            UsageError: The folder cannot be made or written to.
            RunError: Another process trains in it.
        """
        try:
            require_writable(self.folder)
            if self.folder.is_dir():
                with locked(self.folder, self._refusal):
                    pass
        except OSError as error:
            raise self._unwritable(error) from error

    @property
    def _refusal(self) -> str:
        return f"{self._flag} {self.folder}: another launch is training in it; wait for it to end"

    def prepare(self) -> None:
        """Creates the folder, checks that it is writable, and removes the remains of a killed process.

        Raises:
            UsageError: The folder cannot be created or is not writable.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder, self.folder / BEST):
                _clear(folder)
            probe = self.folder / f"{_STAGING}probe"
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"{self._flag} {self.folder}: cannot be written to: {error.strerror}")

    def save(self, session: Any, saver: Any, step: int, metadata: Mapping[str, Any]) -> Path:
        """Writes the checkpoint of ``step`` and removes the oldest beyond ``keep``; returns its prefix.

        Raises:
            RunError: The checkpoint cannot be written; earlier checkpoints are intact.
        """
        staging = self.folder / f"{_STAGING}{step}"
        try:
            staging.mkdir(exist_ok=True)
            with session.graph.as_default():  # a saver asks the current graph whether execution is eager
                saver.save(session, str(staging / f"{PREFIX}-{step}"), write_meta_graph=False, write_state=False)
            staged = staging / f"{PREFIX}-{step}"
            staged.with_name(f"{staged.name}.json").write_bytes(sealed(metadata, checksums_of(staged)))
            prefix = _move_into_place(staging, self.folder, step)
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise RunError(
                f"step {step}: the checkpoint could not be written to {self.folder} ({self._flag}): "
                f"{reason(error)}; earlier checkpoints are intact"
            ) from error
        _keep_only(self.folder, steps_in(self.folder)[-self._keep :])
        return prefix

    def prefix(self, step: int) -> Path:
        """The prefix of the checkpoint of ``step``, whether it exists or not."""
        return self.folder / f"{PREFIX}-{step}"

    def annotate(self, step: int, metadata: Mapping[str, Any]) -> None:
        """Replaces the description of ``step``, and of its copy if that is the best one; the checksums stay.

        Raises:
            RunError: The former description is damaged, or the new one cannot be written.
        """
        for folder in (self.folder, self.folder / BEST):
            if step in steps_in(folder):
                path = folder / f"{PREFIX}-{step}.json"
                try:
                    write_atomically(path, sealed(metadata, stored_checksums(path.with_suffix(""))))
                except OSError as error:
                    raise RunError(f"step {step}: {path} could not be written: {error.strerror}") from error

    def keep_best(self, step: int) -> Path:
        """Copies the checkpoint of ``step`` to ``best/`` and replaces the one there; returns its prefix."""
        best = self.folder / BEST
        staging = best / f"{_STAGING}{step}"
        try:
            staging.mkdir(parents=True, exist_ok=True)
            for suffix in SUFFIXES:
                _link_or_copy(self.folder / f"{PREFIX}-{step}{suffix}", staging / f"{PREFIX}-{step}{suffix}")
            prefix = _move_into_place(staging, best, step)
        except OSError as error:
            raise RunError(f"step {step}: the best checkpoint could not be written to {best}: {error}") from error
        _keep_only(best, [step])
        return prefix


def find_checkpoint(path: Path) -> Path | None:
    """The prefix of the checkpoint that a folder or a prefix stands for; None if the folder holds none.

    Raises:
        CheckpointError: ``path`` is a file of another kind, or is like a checkpoint's prefix, but there is none.
        UsageError: The folder holds several checkpoints of another program.
    """
    if path.is_dir():
        steps = steps_in(path)
        return path / f"{PREFIX}-{steps[-1]}" if steps else _checkpoint_of_another_program(path)
    for candidate in (_without_part(path), path):
        if Path(f"{candidate}.index").is_file():
            return candidate
        if candidate.is_file():  # perhaps TensorFlow's first format
            if not _is_table(candidate):
                raise CheckpointError(f"{candidate}: {_not_a_checkpoint(candidate)}")
            return candidate
    if path.parent.is_dir() and path.parent != path and path.name.startswith(PREFIX):
        saved = (f"{PREFIX}-{step}" for step in steps_in(path.parent))
        raise CheckpointError(f"{path}: no such checkpoint{hint(path.name, saved)}")
    return None


def is_part(path: Path) -> bool:
    """Returns whether a path is that of one of the files of a checkpoint in TensorFlow's second format."""
    return Path(f"{_without_part(path)}.index").is_file()


def _without_part(path: Path) -> Path:
    """The prefix of the checkpoint that a file is part of."""
    return Path(_PART.sub("", str(path)))


def _not_a_checkpoint(path: Path) -> str:
    """The reason why a file is no checkpoint."""
    kind = kind_of_file(path)
    if kind is None and path.suffix in _TORCH_SUFFIXES:
        if _begins_like_torch(path):
            return "is no checkpoint; python -m tools.import_weights converts PyTorch weights to one"
        return "is neither a checkpoint of TensorFlow nor a file of PyTorch, or was cut off"
    return f"is no checkpoint but {kind}" if kind else "is no checkpoint of TensorFlow, or was cut off"


def _begins_like_torch(path: Path) -> bool:
    """Returns whether a file begins like a zip archive, a pickle, or the list of tensors of safetensors."""
    with path.open("rb") as file:
        begin = file.read(9)
    return begin.startswith((b"PK\x03\x04", b"\x80")) or (begin[4:8] == b"\0" * 4 and begin[8:] == b"{")


def _checkpoint_of_another_program(folder: Path) -> Path | None:
    """The checkpoint that another program's state file names, or the only one in a folder without a state file."""
    named = tf1.train.latest_checkpoint(str(folder))
    if named:
        return Path(named)
    found = {Path(str(path).removesuffix(".index")) for path in folder.glob("*.index")}
    found |= {path for path in folder.glob("*.ckpt*") if path.is_file() and _is_table(path)}
    if len(found) > 1:
        names = ", ".join(sorted(path.name for path in found)[:3])
        raise UsageError(f"{folder}: holds several checkpoints, {names}; name one of them")
    return next(iter(found), None)


def _is_table(path: Path) -> bool:
    """Returns whether a file ends like a checkpoint in TensorFlow's first format: one file with names and values."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(-min(len(_TABLE_END), file.tell()), 2)
        return not path.name.endswith(".index") and file.read() == _TABLE_END


def wait_for_checkpoint(folder: Path, stop: Hook) -> bool:
    """Waits until a folder, which need not exist yet, holds a checkpoint; returns False if ``stop`` ends the wait.

    Raises:
        RunError: ``folder`` is the prefix of a checkpoint that does not exist.
    """
    said = False
    while not stop.wants_stop:
        if find_checkpoint(folder) is not None:
            return True
        if not said:
            _log.info("waiting for the first checkpoint in %s", folder)
            said = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return False


def next_checkpoint(prefix: Path, stop: Hook) -> Path | None:
    """Waits for a newer checkpoint beside ``prefix``; None if ``prefix`` is its run's last or ``stop`` ends the wait.

    The run may have removed ``prefix`` in the meantime.
    """
    while not stop.wants_stop:
        newest = find_checkpoint(prefix.parent)
        if newest is not None and newest != prefix:
            return newest
        metadata = read_metadata(prefix) or {}
        if newest == prefix and metadata.get("step", 0) >= metadata.get("total_steps", 0):
            return None
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return None


def _keep_only(folder: Path, steps: Sequence[int]) -> None:
    """Names ``steps`` in the state file that ``tf.train.latest_checkpoint`` reads, then removes all others."""
    lines = [f'model_checkpoint_path: "{PREFIX}-{steps[-1]}"']
    lines += [f'all_model_checkpoint_paths: "{PREFIX}-{step}"' for step in steps]
    write_atomically(folder / STATE, ("\n".join(lines) + "\n").encode())
    for old in steps_in(folder):
        if old not in steps:
            _remove(folder, old)


def _clear(folder: Path) -> None:
    """Removes what a killed process left: staged files, parts of a checkpoint without an index, an old state file."""
    for leftover in folder.glob(f"{_STAGING}*"):
        shutil.rmtree(leftover)
    for name in (STATE, f"{PREFIX}-*"):
        for leftover in folder.glob(temporary_name(Path(name)).name):
            leftover.unlink()
    for suffix in SUFFIXES:
        for path in folder.glob(f"{PREFIX}-*{suffix}"):
            if not Path(f"{str(path).removesuffix(suffix)}.index").exists():
                path.unlink()
    steps = steps_in(folder)
    if steps:
        _keep_only(folder, steps)


def _move_into_place(staging: Path, folder: Path, step: int) -> Path:
    for suffix in SUFFIXES:
        flush_to_disk(staging / f"{PREFIX}-{step}{suffix}")
    for suffix in SUFFIXES:
        name = f"{PREFIX}-{step}{suffix}"
        (staging / name).replace(folder / name)
    flush_to_disk(folder)
    shutil.rmtree(staging)
    return folder / f"{PREFIX}-{step}"


def _remove(folder: Path, step: int) -> None:
    for suffix in reversed(SUFFIXES):  # the index first: without it, TensorFlow sees no checkpoint
        (folder / f"{PREFIX}-{step}{suffix}").unlink(missing_ok=True)


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # file systems without hard links
        shutil.copyfile(source, target)
