"""The checksums of a checkpoint: damage is found before use, and the newest whole checkpoint is named."""

import json

import numpy as np
import pytest

from tests.utils.checkpoints.weights import FILES, without_checksums
from utils.errors import CheckpointError
from utils.weights.checkpoint_contents import stored_shapes, value_reader
from utils.weights.checkpoint_files import open_checkpoint, read_metadata

DATA, INDEX, DESCRIPTION = FILES


def use(prefix):
    """Reads all of a checkpoint."""
    read_metadata(prefix)
    return {name: value_reader(prefix)(name) for name in stored_shapes(prefix)}


def damage(path, place=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.write_bytes(content)


def make_older(prefix):
    """Makes a checkpoint as older versions wrote it."""
    path = prefix.with_name(f"{prefix.name}.{DESCRIPTION}")
    path.write_text(json.dumps(without_checksums(path)))


@pytest.mark.parametrize("suffix", FILES)
def test_every_wrong_byte_is_found(save, tmp_path, suffix):
    save(1)
    prefix, path = tmp_path / "model.ckpt-1", tmp_path / f"model.ckpt-1.{suffix}"
    whole = path.read_bytes()
    assert use(prefix)
    for place in range(len(whole)):
        path.write_bytes(whole)
        damage(path, place)
        with pytest.raises(CheckpointError, match=r"model\.ckpt-1.*(damaged|is unknown)"):
            use(prefix)
    path.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match=r"model\.ckpt-1"):
        use(prefix)


@pytest.mark.parametrize("suffix", FILES)
def test_the_newest_whole_checkpoint_is_named(save, tmp_path, suffix):
    save(1).keep_best(1)
    save(2, 3, 4)
    damage(tmp_path / f"model.ckpt-4.{suffix}")
    with pytest.raises(CheckpointError, match=rf"the newest whole one is {tmp_path}/model\.ckpt-3$"):
        use(tmp_path / "model.ckpt-4")
    damage(tmp_path / f"model.ckpt-3.{DATA}")
    damage(tmp_path / f"model.ckpt-2.{INDEX}")
    (tmp_path / f"model.ckpt-1.{DATA}").unlink()  # best/ has it under a name of its own
    with pytest.raises(CheckpointError, match=rf"the newest whole one is {tmp_path}/best/model\.ckpt-1$"):
        use(tmp_path / "model.ckpt-4")
    damage(tmp_path / "best" / f"model.ckpt-1.{DESCRIPTION}")
    with pytest.raises(CheckpointError) as told:
        use(tmp_path / "model.ckpt-4")
    assert "newest whole" not in str(told.value)


def test_checksums_are_no_part_of_the_description(save, tmp_path):
    save(1).annotate(1, {"step": 1, "names": ["Müsli", "\ud800"], "rate": 0.1, "by_id": {3: 1e-300}})
    found = read_metadata(tmp_path / "model.ckpt-1")
    assert found == {"step": 1, "names": ["Müsli", "\ud800"], "rate": 0.1, "by_id": {"3": 1e-300}}


def test_annotating_does_not_bless_what_was_damaged(save, tmp_path):
    directory = save(1)
    damage(tmp_path / f"model.ckpt-1.{INDEX}")
    directory.annotate(1, {"step": 1, "note": "new"})
    with pytest.raises(CheckpointError, match=r"index does not match its checksum"):
        use(tmp_path / "model.ckpt-1")


def test_a_description_may_be_changed_by_hand_without_its_checksums(save, tmp_path):
    save(1)
    path = tmp_path / f"model.ckpt-1.{DESCRIPTION}"
    path.write_text(path.read_text().replace('"step": 1', '"step": 2'))
    with pytest.raises(CheckpointError, match='if you changed it, remove its "checksums"'):
        read_metadata(tmp_path / "model.ckpt-1")
    make_older(tmp_path / "model.ckpt-1")
    assert read_metadata(tmp_path / "model.ckpt-1") == {"step": 2}
    assert use(tmp_path / "model.ckpt-1")


def test_older_checkpoints_are_read_and_never_end_in_a_traceback(save, tmp_path):
    save(1)
    prefix, path = tmp_path / "model.ckpt-1", tmp_path / f"model.ckpt-1.{INDEX}"
    make_older(prefix)
    whole = path.read_bytes()
    for kept in range(len(whole)):
        for content in (whole[:kept], whole[:kept] + whole[kept + 1 :]):
            path.write_bytes(content)
            try:
                values = use(prefix)
            except CheckpointError:
                continue
            assert all(np.isfinite(value).all() for value in values.values())


@pytest.mark.parametrize("suffix", [DATA, INDEX])
def test_a_pointer_in_the_place_of_a_file_is_named(save, tmp_path, suffix):
    save(1)
    name = f"model.ckpt-1.{suffix}"
    (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(CheckpointError, match=rf"is damaged: {name} is a git-lfs pointer; git lfs pull fetches"):
        open_checkpoint(tmp_path / "model.ckpt-1")
