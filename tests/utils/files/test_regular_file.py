"""Only regular files are opened by name, at once and without waiting."""

import os

import pytest

from utils.files.regular_file import open_regular, read_regular


def pipe(path):
    os.mkfifo(path)
    return path


def device(path):
    path.symlink_to("/dev/zero")
    return path


def of_the_kernel(path):
    path.symlink_to("/proc/self/environ")
    return path


@pytest.mark.parametrize(
    ("make", "kind"),
    [(pipe, "a named pipe"), (device, "a device"), (of_the_kernel, "a file of the kernel")],
)
def test_what_is_no_regular_file_is_refused_with_its_kind(make, kind, tmp_path):
    with pytest.raises(OSError, match=f"it is {kind}, and must be a regular file"):
        open_regular(make(tmp_path / "x"))


def test_a_file_and_a_link_to_it_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", most=7) == b"content"
    with pytest.raises(OSError, match="it has 7 bytes, and must have at most 6"):
        read_regular(tmp_path / "file", most=6)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "gone", most=7)
