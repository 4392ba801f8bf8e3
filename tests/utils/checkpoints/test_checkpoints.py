"""The folder of checkpoints: its files, retention, lookup and clean-up."""

import errno
import os
from pathlib import Path

import pytest
import tensorflow as tf

from tests.utils.checkpoints.weights import FILES, numbers, without_checksums
from utils.checkpoints import CheckpointDir, find_checkpoint
from utils.errors import RunError, UsageError
from utils.weights.checkpoint_files import read_metadata, steps_in


def test_a_step_is_three_files_and_a_state_file(save, tmp_path):
    save(7)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint",
        *[f"model.ckpt-7.{suffix}" for suffix in FILES],
    ]
    assert read_metadata(tmp_path / "model.ckpt-7") == {"step": 7}


def test_tensorflow_finds_the_newest_and_all_that_are_kept(save, tmp_path):
    save(2, 10, 9)
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-10")
    state = tf.train.get_checkpoint_state(str(tmp_path))
    assert [Path(path).name for path in state.all_model_checkpoint_paths] == [f"model.ckpt-{n}" for n in (2, 9, 10)]
    assert numbers(tmp_path / "model.ckpt-9") == {9.0}


def test_all_of_a_checkpoint_is_on_the_disk_before_its_index_has_its_name(save, tmp_path, monkeypatch):
    fsync, flushed = os.fsync, set()

    def noting(descriptor):
        if not (tmp_path / "model.ckpt-4.index").exists():
            flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    save(4)
    assert {(tmp_path / f"model.ckpt-4.{suffix}").stat().st_ino for suffix in FILES} <= flushed


def test_a_folder_that_was_moved_still_works(save, tmp_path):
    save(3, folder=tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    assert tf.train.latest_checkpoint(str(tmp_path / "new")) == str(tmp_path / "new" / "model.ckpt-3")


@pytest.mark.parametrize(("keep", "kept"), [(1, [12]), (3, [5, 8, 12]), (9, [1, 2, 5, 8, 12])])
def test_the_newest_are_kept(save, tmp_path, keep, kept):
    save(1, 2, 5, 8, 12, keep=keep)
    assert steps_in(tmp_path) == kept
    assert len(list(tmp_path.glob("model.ckpt-*"))) == 3 * len(kept)
    assert tf.train.latest_checkpoint(str(tmp_path)).endswith("model.ckpt-12")


def test_the_best_stays_when_its_step_is_dropped(save, weights, tmp_path):
    directory = save(1)
    assert directory.keep_best(1) == tmp_path / "best" / "model.ckpt-1"
    save(2, 3, 4, keep=2)
    assert steps_in(tmp_path) == [3, 4]
    assert steps_in(tmp_path / "best") == [1]
    assert numbers(tmp_path / "best" / "model.ckpt-1") == {1.0}
    assert tf.train.latest_checkpoint(str(tmp_path / "best")) == str(tmp_path / "best" / "model.ckpt-1")


def test_a_better_one_takes_the_place_of_the_best(save, tmp_path):
    directory = save(1, 2)
    directory.keep_best(1)
    directory.keep_best(2)
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == [
        "checkpoint",
        *[f"model.ckpt-2.{suffix}" for suffix in FILES],
    ]


def test_the_best_is_copied_where_files_cannot_be_linked(save, tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    save(4).keep_best(4)
    assert numbers(tmp_path / "best" / "model.ckpt-4") == {4.0}


def test_annotating_replaces_the_json_of_a_step_wherever_it_is_kept(save, tmp_path):
    directory = save(1, 2)
    directory.keep_best(1)
    directory.annotate(1, {"step": 1, "evaluation": {"top1_accuracy": 0.5}})
    directory.annotate(2, {"step": 2, "note": "no better"})
    for folder in (tmp_path, tmp_path / "best"):
        assert read_metadata(folder / "model.ckpt-1")["evaluation"] == {"top1_accuracy": 0.5}
    assert read_metadata(tmp_path / "model.ckpt-2") == {"step": 2, "note": "no better"}
    assert not (tmp_path / "best" / "model.ckpt-2.json").exists()


def test_no_checkpoint_is_found_where_there_is_none(tmp_path):
    assert find_checkpoint(tmp_path) is None
    assert find_checkpoint(tmp_path / "missing") is None
    assert steps_in(tmp_path / "missing") == []


def test_a_checkpoint_is_found_by_folder_prefix_or_one_of_its_files(save, tmp_path):
    save(3, 20).keep_best(3)
    assert find_checkpoint(tmp_path) == tmp_path / "model.ckpt-20"
    assert find_checkpoint(tmp_path / "best") == tmp_path / "best" / "model.ckpt-3"
    for name in ("model.ckpt-3", "model.ckpt-3.index", "model.ckpt-3.json"):
        assert find_checkpoint(tmp_path / name) == tmp_path / "model.ckpt-3"


def test_a_prefix_without_a_checkpoint_is_named(save, tmp_path):
    save(3)
    with pytest.raises(RunError, match=rf"{tmp_path}/model\.ckpt-4: no such checkpoint"):
        find_checkpoint(tmp_path / "model.ckpt-4")


def test_a_checkpoint_of_another_program_is_found_by_its_state_file(weights, tmp_path):
    weights.fill(1)
    with weights.session.graph.as_default():
        weights.saver.save(weights.session, str(tmp_path / "nvidia_rn50"), write_meta_graph=False)
    assert find_checkpoint(tmp_path) == tmp_path / "nvidia_rn50"
    assert find_checkpoint(tmp_path / "nvidia_rn50") == tmp_path / "nvidia_rn50"
    assert read_metadata(tmp_path / "nvidia_rn50") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b'{"step": 1', "is not valid JSON"), (b"\xff", "is not valid JSON"), (b"[1]", "holds no JSON object")],
)
def test_metadata_that_was_damaged_is_an_error_and_not_absent(save, tmp_path, content, reason):
    save(1)
    (tmp_path / "model.ckpt-1.json").write_bytes(content)
    with pytest.raises(RunError, match=rf"model\.ckpt-1\.json: {reason}.*the meaning of the weights is unknown"):
        read_metadata(tmp_path / "model.ckpt-1")


def test_names_keep_their_letters_in_the_json(save, weights, tmp_path):
    directory = save(1)
    directory.annotate(1, {"class_names": ["Müsli", "茶"]})
    assert "茶" in (tmp_path / "model.ckpt-1.json").read_text(encoding="utf-8")


def test_a_state_file_is_what_tensorflow_would_have_written(save, tmp_path):
    save(1, 2)
    assert (tmp_path / "checkpoint").read_text() == (
        'model_checkpoint_path: "model.ckpt-2"\n'
        'all_model_checkpoint_paths: "model.ckpt-1"\n'
        'all_model_checkpoint_paths: "model.ckpt-2"\n'
    )
    assert without_checksums(tmp_path / "model.ckpt-2.json") == {"step": 2}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=rf"{tmp_path}/file/run: cannot be written to: Not a directory"):
        CheckpointDir(tmp_path / "file" / "run", 5).prepare()


def test_preparing_clears_what_a_kill_left_and_nothing_else(save, tmp_path):
    save(1).keep_best(1)
    (tmp_path / "model.ckpt-readme.txt").touch()
    (tmp_path / "notes.json").touch()
    before = sorted(tmp_path.rglob("*"))
    for folder in (tmp_path, tmp_path / "best"):
        (folder / ".saving-2").mkdir()
        (folder / ".saving-2" / "model.ckpt-2.json").touch()
        (folder / "model.ckpt-3.data-00000-of-00001").touch()
        (folder / "model.ckpt-3.json").touch()
        (folder / ".model.ckpt-1.json.tmp").touch()
        (folder / ".checkpoint.tmp").touch()
    (tmp_path / "checkpoint").unlink()  # killed before the first checkpoint was written
    CheckpointDir(tmp_path, 5).prepare()
    assert sorted(tmp_path.rglob("*")) == before
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-1")


def test_preparing_leaves_another_programs_checkpoints_alone(weights, tmp_path):
    with weights.session.graph.as_default():
        weights.saver.save(weights.session, str(tmp_path / "other"), write_meta_graph=False)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    CheckpointDir(tmp_path, 5).prepare()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
