import contextlib

import pytest

from runtime.artefacts.unverified import accept, unverified
from utils.errors import RunError


@pytest.fixture
def target(tmp_path):
    """An artefact of an earlier export."""
    path = tmp_path / "out" / "model.pb"
    path.parent.mkdir()
    path.write_bytes(b"older")
    return path


def write(path):
    path.write_bytes(b"new")
    path.with_name(f"{path.name}.json").write_bytes(b"{}")


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_an_accepted_artefact_takes_its_place_with_the_files_beside_it(target):
    with unverified(target, "frozen") as path:
        write(path)
        assert target.read_bytes() == b"older"
        accept(path, target)
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["model.pb", "model.pb.json"]


def test_one_that_is_not_accepted_stays_apart_until_the_next_export(target):
    with unverified(target, "frozen") as path:
        write(path)
    assert target.read_bytes() == b"older"
    assert path.read_bytes() == b"new"
    assert names(target.parent / "unverified") == ["frozen", "frozen/model.pb", "frozen/model.pb.json"]
    with unverified(target, "frozen") as path:
        assert not path.exists()
    assert names(target.parent) == ["model.pb"]


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (KeyboardInterrupt(), []),
        (OSError(28, "No space left"), []),
        (RunError("cannot be run"), ["unverified/frozen/"]),
    ],
)
def test_one_that_was_not_written_is_removed_and_one_that_cannot_run_stays(target, error, left):
    def fail():
        with unverified(target, "frozen") as path:
            write(path)
            raise error

    with pytest.raises(type(error)):
        fail()
    stays = [f"{folder}{name}" for folder in left for name in ("model.pb", "model.pb.json")]
    assert [name for name in names(target.parent) if "." in name] == ["model.pb", *stays]
    assert target.read_bytes() == b"older"


@pytest.mark.parametrize("link", ["unverified", "unverified/frozen"])
def test_nothing_is_written_through_a_link(target, tmp_path, link):
    (tmp_path / "elsewhere").mkdir()
    (target.parent / link).parent.mkdir(exist_ok=True)
    (target.parent / link).symlink_to(tmp_path / "elsewhere")
    with contextlib.suppress(OSError), unverified(target, "frozen") as path:
        write(path)
    assert [*(tmp_path / "elsewhere").iterdir()] == []
