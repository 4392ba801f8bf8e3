"""Waiting for checkpoints that another run writes and removes."""

import json
import logging

import pytest

from utils import checkpoints
from utils.checkpoints import next_checkpoint, wait_for_checkpoint
from utils.hooks.hook import Hook


class Looks(Hook):
    """Runs the next event after each look, and requests a stop when no event is left."""

    def __init__(self, monkeypatch, *events):
        self._stopped = False
        self._events = list(events)
        monkeypatch.setattr(checkpoints.time, "sleep", self._happen)

    def _happen(self, seconds):
        assert seconds == checkpoints.SECONDS_BETWEEN_LOOKS
        if self._events:
            self._events.pop(0)()
        else:
            self._stopped = True

    @property
    def wants_stop(self):
        return self._stopped


def checkpoint(folder, step, **metadata):
    """Writes files that look like a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = folder / f"model.ckpt-{step}"
    (folder / f"{prefix.name}.json").write_text(json.dumps({"step": step, **metadata}))
    (folder / f"{prefix.name}.index").touch()
    return prefix


def remove(prefix):
    for suffix in ("index", "json"):
        (prefix.parent / f"{prefix.name}.{suffix}").unlink()


def test_the_first_checkpoint_may_be_there(tmp_path, monkeypatch):
    checkpoint(tmp_path, 3)
    assert wait_for_checkpoint(tmp_path, Looks(monkeypatch))


def test_the_first_checkpoint_may_come_later_than_its_folder(tmp_path, monkeypatch, caplog):
    folder = tmp_path / "run"
    looks = Looks(monkeypatch, folder.mkdir, lambda: checkpoint(folder, 3))
    with caplog.at_level(logging.INFO):
        assert wait_for_checkpoint(folder, looks)
    assert caplog.messages == [f"waiting for the first checkpoint in {folder}"]


def test_a_signal_ends_the_wait_for_the_first(tmp_path, monkeypatch):
    assert not wait_for_checkpoint(tmp_path, Looks(monkeypatch))


def test_the_next_is_the_newest_that_is_not_the_one(tmp_path, monkeypatch):
    prefix = checkpoint(tmp_path, 2, total_steps=9)

    def write():
        for step in (4, 6):
            checkpoint(tmp_path, step, total_steps=9)

    assert next_checkpoint(prefix, Looks(monkeypatch, lambda: None, write)) == tmp_path / "model.ckpt-6"


def test_after_the_last_of_its_run_there_is_no_next(tmp_path, monkeypatch):
    looks = Looks(monkeypatch)
    assert next_checkpoint(checkpoint(tmp_path, 9, total_steps=9), looks) is None
    assert not looks.wants_stop


def test_what_another_program_trained_is_not_waited_for(tmp_path, monkeypatch):
    looks = Looks(monkeypatch)
    assert next_checkpoint(checkpoint(tmp_path, 9), looks) is None
    assert not looks.wants_stop


def test_a_signal_ends_the_wait_for_the_next(tmp_path, monkeypatch):
    assert next_checkpoint(checkpoint(tmp_path, 2, total_steps=9), Looks(monkeypatch)) is None


@pytest.mark.parametrize("at_once", [True, False])
def test_a_checkpoint_that_its_run_has_removed_is_followed_by_the_next(at_once, tmp_path, monkeypatch):
    prefix = checkpoint(tmp_path, 2, total_steps=9)
    remove(prefix)
    if at_once:
        checkpoint(tmp_path, 4, total_steps=9)
        looks = Looks(monkeypatch)
    else:
        looks = Looks(monkeypatch, lambda: checkpoint(tmp_path, 4, total_steps=9))
    assert next_checkpoint(prefix, looks) == tmp_path / "model.ckpt-4"
