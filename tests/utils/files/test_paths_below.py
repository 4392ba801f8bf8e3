import os

import pytest

from utils.files.paths_below import fault_below, is_path_below


@pytest.mark.parametrize("name", ["a.jpg", "a/b.jpg", "./a.jpg", "a..b", "...", "a//b", "ä b"])
def test_names_of_files_below_a_folder(name):
    assert is_path_below(name)


@pytest.mark.parametrize("name", ["/a.jpg", "//a", "..", "../a.jpg", "a/../b.jpg", "a/..", "", ".", "./"])
def test_names_that_lead_elsewhere(name):
    assert not is_path_below(name)


@pytest.fixture
def folder(tmp_path):
    """A folder of images, reached through a link, beside a file that is none of its business."""
    (tmp_path / "images" / "sub").mkdir(parents=True)
    (tmp_path / "images" / "sub" / "a.jpg").write_bytes(b"a")
    (tmp_path / "secret").write_bytes(b"s")
    (tmp_path / "link").symlink_to(tmp_path / "images")
    return tmp_path / "link"


def test_files_of_the_folder_have_no_fault_and_links_within_it_neither(folder):
    (folder / "b.jpg").symlink_to("sub/a.jpg")
    (folder / "other").symlink_to("sub")
    for name in ("sub/a.jpg", "b.jpg", "other/a.jpg", "missing.jpg"):
        assert fault_below(folder, name) == ""


@pytest.mark.parametrize("target", ["../secret", "/dev/zero", "..", "../missing"])
def test_links_out_of_the_folder_are_faults(folder, target):
    (folder / "b").symlink_to(target)
    name = "b/secret" if target == ".." else "b"
    assert fault_below(folder, name) == f"leads through a link out of {folder}"


def test_what_is_no_regular_file_is_a_fault_and_a_pipe_does_not_block(folder):
    os.mkfifo(folder / "pipe.jpg")
    assert fault_below(folder, "pipe.jpg") == "cannot be an image: it is a named pipe, and must be a regular file"
    assert fault_below(folder, "sub") == "cannot be an image: Is a directory"
