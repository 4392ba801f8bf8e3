"""Folders that can be made and written to, and the errors of those that cannot."""

import errno
import os

import pytest

from utils.files.writable import require_writable


def test_a_folder_that_can_be_written_to_is_not_made(tmp_path):
    before = tmp_path.stat().st_mtime_ns
    require_writable(tmp_path)
    require_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.stat().st_mtime_ns == before


@pytest.mark.parametrize("place", ["", "a/b"])
def test_where_every_file_has_a_name_nothing_is_left_either(place, tmp_path, monkeypatch):
    """File systems over a network do not know files without a name."""

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("utils.files.writable.os.open", refuse)
    require_writable(tmp_path / place)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/below", "link", "x" * 300, "/proc/x", "/proc/x/y", "/sys/x"])
def test_the_error_is_that_of_making_the_folder(place, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    folder = tmp_path / place
    with pytest.raises(OSError) as refused:  # noqa: PT011
        require_writable(folder)
    with pytest.raises(OSError) as failed:  # noqa: PT011
        folder.mkdir(parents=True, exist_ok=True)
    assert refused.value.errno == failed.value.errno


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError) as refused:  # noqa: PT011
        require_writable(tmp_path / "a")
    assert refused.value.errno == errno.EACCES
    tmp_path.chmod(0o700)
