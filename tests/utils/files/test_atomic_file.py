import os
from pathlib import Path

import pytest

from utils.files.atomic_file import (
    atomic_file,
    make_folder_inside,
    move_into_place,
    remove_whatever,
    temporary_name,
    write_atomically,
)


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


def test_what_a_killed_writer_left_is_replaced(tmp_path):
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


@pytest.fixture
def victim(tmp_path):
    """A file of somebody else, outside of the folder that a program writes to."""
    path = tmp_path / "elsewhere" / "victim"
    path.parent.mkdir()
    path.write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    return path


@pytest.mark.parametrize("planted", ["a", ".a.tmp"])
def test_a_link_at_the_place_of_a_file_is_replaced_and_not_followed(tmp_path, victim, planted):
    (tmp_path / "out" / planted).symlink_to(victim)
    write_atomically(tmp_path / "out" / "a", b"new")
    assert victim.read_bytes() == b"precious"
    assert [(path.name, path.is_symlink()) for path in (tmp_path / "out").iterdir()] == [("a", False)]


def test_a_link_that_comes_between_is_an_error_and_not_followed(tmp_path, victim, monkeypatch):
    temporary = temporary_name(tmp_path / "out" / "a")
    opened = os.open
    monkeypatch.setattr(os, "open", lambda *args: temporary.symlink_to(victim) or opened(*args))
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "out" / "a", b"new")
    assert victim.read_bytes() == b"precious"


def test_half_a_file_of_another_writer_never_takes_the_name(tmp_path):
    path = tmp_path / "a"

    def overtaken():
        with atomic_file(path) as file:
            file.write(b"whole")
            temporary_name(path).unlink()
            temporary_name(path).write_bytes(b"ha")  # the other one has begun

    with pytest.raises(OSError, match="another process writes the same file"):
        overtaken()
    assert [entry.name for entry in tmp_path.iterdir()] == [".a.tmp"]


@pytest.mark.parametrize("relative", ["b", "b/c", "../elsewhere", "/", "d/../../elsewhere"])
def test_no_folder_is_made_outside(tmp_path, victim, relative):
    (tmp_path / "out" / "b").symlink_to(victim.parent)
    with pytest.raises(OSError, match="leads out of"):
        make_folder_inside(tmp_path / "out", relative)
    assert [path.name for path in victim.parent.iterdir()] == ["victim"]


def test_folders_are_made_in_a_folder_that_is_itself_a_link(tmp_path, victim):
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert make_folder_inside(tmp_path / "link", "x/y") == tmp_path / "link" / "x" / "y"
    assert (tmp_path / "out" / "x" / "y").is_dir()


@pytest.mark.parametrize("older", ["folder", "file", "link", "nothing"])
def test_a_folder_takes_the_place_of_whatever_was_there(tmp_path, victim, older):
    new, target = tmp_path / "out" / "new", tmp_path / "out" / "model"
    new.mkdir()
    (new / "weights").write_bytes(b"new")
    if older == "folder":
        target.mkdir()
        (target / "old").touch()
    elif older == "file":
        target.touch()
    elif older == "link":
        target.symlink_to(victim.parent)
    move_into_place(new, target)
    assert [path.name for path in target.iterdir()] == ["weights"]
    assert [path.name for path in target.parent.iterdir()] == ["model"]
    assert victim.read_bytes() == b"precious"


def test_what_is_moved_into_place_is_on_the_disk_before(tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "weights").write_bytes(b"new")
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(Path(f"/proc/self/fd/{number}").readlink()))
    move_into_place(tmp_path / "new", tmp_path / "model")
    assert flushed == [tmp_path / "new", tmp_path / "new" / "weights", tmp_path]


def test_a_link_is_removed_and_its_target_is_not(tmp_path, victim):
    (tmp_path / "out" / "link").symlink_to(victim.parent)
    remove_whatever(tmp_path / "out" / "link")
    remove_whatever(tmp_path / "out" / "link")
    remove_whatever(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert victim.read_bytes() == b"precious"
