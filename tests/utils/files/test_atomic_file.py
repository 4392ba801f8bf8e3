import os

import pytest

from utils.files.atomic_file import atomic_file, temporary_name, write_atomically


def test_writes_the_whole_file_and_leaves_nothing_else(tmp_path):
    write_atomically(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"new"


def test_the_name_appears_only_at_the_end(tmp_path):
    path = tmp_path / "a"
    with atomic_file(path) as file:
        file.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_keeps_the_old_file_and_removes_the_half_written_one(tmp_path, error):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail():
        with atomic_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_writer_left_is_overwritten(tmp_path):
    path = tmp_path / "a"
    temporary_name(path).write_bytes(b"left over from long ago")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert not temporary_name(path).exists()


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_it_returns(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(_seen(descriptor, tmp_path)))
    write_atomically(tmp_path / "a", b"new")
    assert flushed == [("file", [".a.tmp"]), ("folder", ["a"])]


def _seen(descriptor, folder):
    """Records the flushed files, and the names in the folder at that time."""
    is_folder = os.fstat(descriptor).st_ino == folder.stat().st_ino
    return "folder" if is_folder else "file", [entry.name for entry in folder.iterdir()]
