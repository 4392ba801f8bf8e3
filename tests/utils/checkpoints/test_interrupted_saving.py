"""Checkpoints are complete or absent, whatever happens while they are written."""

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tests.utils import saving
from tests.utils.checkpoints.weights import FILES, numbers
from utils import checkpoints
from utils.checkpoints import CheckpointDir, find_checkpoint
from utils.errors import RunError
from utils.weights.checkpoint_files import read_metadata, steps_in


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
        f"step 3: the checkpoint could not be written to {tmp_path} (--model_dir or --results_dir): [Errno 28] No "
        "space left on device; earlier checkpoints are intact"
    )
    monkeypatch.undo()
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-2")
    assert find_checkpoint(tmp_path) == tmp_path / "model.ckpt-2"
    assert numbers(tmp_path / "model.ckpt-2") == {2.0}
    save(3)  # there is free space again
    assert numbers(tmp_path / "model.ckpt-3") == {3.0}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_file_that_the_system_refuses_to_grow_is_a_sentence(tmp_path):
    """TensorFlow's own writes fail too; this needs its own process because limits cannot be raised again."""
    saved = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert saved.returncode == 0, saved.stderr
    assert re.match(r"step 2: the checkpoint could not be written to .*; earlier checkpoints are intact", saved.stdout)
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
    """Checks a folder whose writer was killed after it had saved ``reported`` steps."""
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
    if reported > 1:  # the previous step was reported, then marked as the best
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
