"""Checkpoints are complete or absent, whatever happens while they are written."""

import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.utils import saving
from utils import checkpoints
from utils.checkpoint_contents import match_variables, restore
from utils.checkpoints import CheckpointDir, find_checkpoint, read_metadata, steps_in
from utils.errors import RunError, UsageError

tf1 = tf.compat.v1
FILES = ("data-00000-of-00001", "index", "json")


class Weights:
    """Two variables in a session, all of whose values are one number."""

    def __init__(self, shape=(3,), name="kernel"):
        with tf.Graph().as_default() as graph:
            self.variables = [
                tf1.get_variable(f"network/{name}", shape, use_resource=True),
                tf1.get_variable(f"network/{name}/Momentum", shape, use_resource=True),
            ]
            self._value = tf1.placeholder(tf.float32, [])
            self._assign = [variable.assign(tf.fill(shape, self._value)) for variable in self.variables]
            self.saver = tf1.train.Saver(self.variables, max_to_keep=None)
        self.session = tf1.Session(graph=graph)

    def fill(self, value):
        self.session.run(self._assign, {self._value: value})

    def values(self):
        return {float(value) for array in self.session.run(self.variables) for value in np.ravel(array)}


@pytest.fixture(scope="module")
def weights():
    weights = Weights()
    with weights.session:
        yield weights


@pytest.fixture
def save(tmp_path, weights):
    """Saves steps to a folder, keeping so many; the values of a step are its number."""

    def do(*steps, keep=5, folder=tmp_path):
        directory = CheckpointDir(folder, keep)
        directory.prepare()
        for step in steps:
            weights.fill(step)
            prefix = directory.save(weights.session, weights.saver, step, {"step": step})
            assert prefix == folder / f"model.ckpt-{step}"
        return directory

    return do


def numbers(prefix):
    """The different values of all variables of a checkpoint."""
    reader = tf.train.load_checkpoint(str(prefix))
    assert set(reader.get_variable_to_shape_map()) == {"network/kernel", "network/kernel/Momentum"}
    return {float(v) for name in reader.get_variable_to_shape_map() for v in np.unique(reader.get_tensor(name))}


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
    with pytest.raises(UsageError, match=rf"{tmp_path}/model\.ckpt-4: no such checkpoint"):
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
    [(b'{"step": 1', "is not readable JSON"), (b"\xff", "is not readable JSON"), (b"[1]", "holds no JSON object")],
)
def test_metadata_that_was_damaged_is_an_error_and_not_absent(save, tmp_path, content, reason):
    save(1)
    (tmp_path / "model.ckpt-1.json").write_bytes(content)
    with pytest.raises(RunError, match=rf"model\.ckpt-1\.json: {reason}.*the weights' meaning is unknown"):
        read_metadata(tmp_path / "model.ckpt-1")


def test_names_keep_their_letters_in_the_json(save, weights, tmp_path):
    directory = save(1)
    directory.annotate(1, {"class_names": ["Müsli", "茶"]})
    assert "茶" in (tmp_path / "model.ckpt-1.json").read_text(encoding="utf-8")


def test_restoring_gives_back_the_values(save, weights, tmp_path):
    save(5, 6)
    restore(weights.session, weights.saver, tmp_path / "model.ckpt-5")
    assert weights.values() == {5.0}


def test_a_report_tells_loaded_missing_unused_and_reshaped_apart(save, tmp_path):
    save(1)
    with Weights(shape=(4,)).session, Weights(name="other").session:
        same = match_variables(tmp_path / "model.ckpt-1", Weights().variables)
        other = match_variables(tmp_path / "model.ckpt-1", Weights(name="other").variables)
        wider = match_variables(tmp_path / "model.ckpt-1", Weights(shape=(4,)).variables)
    both = ("network/kernel", "network/kernel/Momentum")
    assert (same.loaded, same.missing, same.unused, same.reshaped) == (both, (), (), ())
    assert same.summary() == "2 variables loaded, 0 not in the checkpoint, 0 of the checkpoint not used"
    assert (other.loaded, set(other.unused)) == ((), set(both))
    assert other.missing == ("network/other", "network/other/Momentum")
    assert wider.reshaped == tuple((name, (3,), (4,)) for name in both)
    assert wider.loaded == ()


@pytest.mark.parametrize("suffix", ["data-00000-of-00001", "index"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_checkpoint_is_a_sentence(save, weights, tmp_path, suffix, damage):
    save(1)
    path = tmp_path / f"model.ckpt-1.{suffix}"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        content[:middle] + (b"" if damage == "cut" else bytes([content[middle] ^ 255]) + content[middle + 1 :])
    )

    def load(prefix):
        match_variables(prefix, weights.variables)  # reads the index
        restore(weights.session, weights.saver, prefix)  # reads the data

    with pytest.raises(RunError, match=r"model\.ckpt-1: .*\(--model_dir\)"):
        load(tmp_path / "model.ckpt-1")


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
    (tmp_path / "checkpoint").unlink()  # killed before the first one was written
    CheckpointDir(tmp_path, 5).prepare()
    assert sorted(tmp_path.rglob("*")) == before
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-1")


def test_preparing_leaves_another_programs_checkpoints_alone(weights, tmp_path):
    with weights.session.graph.as_default():
        weights.saver.save(weights.session, str(tmp_path / "other"), write_meta_graph=False)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    CheckpointDir(tmp_path, 5).prepare()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("place", ["utils.checkpoints.flush_to_disk", "utils.checkpoints.Path.replace"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_full_disk_leaves_the_earlier_checkpoints_whole(save, weights, tmp_path, monkeypatch, place, call):
    directory = save(1, 2)
    calls = 0
    module, name = (checkpoints, "flush_to_disk") if place.endswith("flush_to_disk") else (Path, "replace")
    genuine = getattr(module, name)

    def fill_up(*arguments):
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        return genuine(*arguments)

    monkeypatch.setattr(module, name, fill_up)
    weights.fill(3)
    with pytest.raises(RunError) as raised:
        directory.save(weights.session, weights.saver, 3, {"step": 3})
    assert str(raised.value) == (
        f"step 3: the checkpoint could not be written to {tmp_path} (--model_dir): [Errno 28] No space left on device; "
        "earlier checkpoints are whole"
    )
    monkeypatch.undo()
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-2")
    assert find_checkpoint(tmp_path) == tmp_path / "model.ckpt-2"
    assert numbers(tmp_path / "model.ckpt-2") == {2.0}
    save(3)  # there is room again
    assert numbers(tmp_path / "model.ckpt-3") == {3.0}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_file_that_the_system_refuses_to_grow_is_a_sentence(tmp_path):
    """The same from below: TensorFlow's own writes fail, in a process of its own since limits cannot be raised."""
    saved = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert saved.returncode == 0, saved.stderr
    assert re.match(r"step 2: the checkpoint could not be written to .*; earlier checkpoints are whole", saved.stdout)
    assert steps_in(tmp_path) == [1]
    assert numbers(tmp_path / "model.ckpt-1") == {1.0}
    assert [path.name for path in tmp_path.glob(".*")] == []


LIMITED = """
import resource, sys
from pathlib import Path
from tests.utils.saving import save_steps
from utils.errors import RunError

def limit(step):
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))

try:
    save_steps(Path(sys.argv[1]), [1, 2], 5, limit)
except RunError as error:
    print(error)
"""


def assert_nothing_was_lost(folder: Path, reported: int, keep: int):
    """What must hold in a folder whose writer was killed after it had reported so many saved steps."""
    steps = steps_in(folder)
    for step in steps:
        assert numbers(folder / f"model.ckpt-{step}") == {float(step)}
        assert read_metadata(folder / f"model.ckpt-{step}")["step"] == step
    if reported:
        assert steps[-1] >= reported
        assert len(steps) >= min(keep, reported)
        newest = tf.train.latest_checkpoint(str(folder))
        assert int(newest.rpartition("-")[2]) >= reported
        assert numbers(newest) == {float(newest.rpartition("-")[2])}
    if reported > 1:  # the step before was reported, then made the best
        (best, *_) = reversed(steps_in(folder / "best"))
        assert numbers(folder / "best" / f"model.ckpt-{best}") == {float(best)}
        assert tf.train.latest_checkpoint(str(folder / "best")) is not None


def assert_a_restart_tidies_up(folder: Path, keep: int):
    before = steps_in(folder)
    CheckpointDir(folder, keep).prepare()
    assert steps_in(folder) == before
    for place in (folder, folder / "best"):
        names = {path.name for path in place.iterdir()} - {"best"} if place.is_dir() else set()
        complete = {f"model.ckpt-{step}.{suffix}" for step in steps_in(place) for suffix in FILES}
        assert names == (complete | {"checkpoint"} if complete else set())
    if before:
        assert tf.train.latest_checkpoint(str(folder)) == str(find_checkpoint(folder))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "keep"), [("operations", 1), ("moments", 3)])
def test_a_kill_at_any_moment_of_saving_loses_nothing(tmp_path, kind, keep):
    command = [sys.executable, "-m", "tests.utils.saving", str(tmp_path), kind, str(keep)]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert killed.returncode == 0, killed.stderr
    folders = sorted(path for path in tmp_path.iterdir() if path.is_dir())
    reports = [len(Path(f"{folder}.done").read_bytes()) for folder in folders]
    assert len(folders) == saving.MOMENTS if kind == "moments" else len(folders) > 30
    assert max(reports) >= 2
    for folder, reported in zip(folders, reports, strict=True):
        assert_nothing_was_lost(folder, reported, keep)
        assert_a_restart_tidies_up(folder, keep)
        assert_nothing_was_lost(folder, reported, keep)


def test_a_state_file_is_what_tensorflow_would_have_written(save, tmp_path):
    save(1, 2)
    assert (tmp_path / "checkpoint").read_text() == (
        'model_checkpoint_path: "model.ckpt-2"\n'
        'all_model_checkpoint_paths: "model.ckpt-1"\n'
        'all_model_checkpoint_paths: "model.ckpt-2"\n'
    )
    assert json.loads((tmp_path / "model.ckpt-2.json").read_text()) == {"step": 2}
