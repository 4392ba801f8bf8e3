import pytest

from utils.errors import RunError
from utils.files.file_lock import locked


@pytest.mark.parametrize("name", ["folder", "file"])
def test_what_is_locked_is_refused_until_it_is_free(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with locked(tmp_path / name), pytest.raises(RunError, match=r"^busy$"), locked(tmp_path / name, "busy"):
        pass
    with locked(tmp_path / name, "busy"):
        pass


def test_a_link_at_the_place_of_a_lock_file_is_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), locked(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
