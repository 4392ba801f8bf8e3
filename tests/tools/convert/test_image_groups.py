"""Groups of images: from a CSV file into the manifest, and into a repaired copy."""

import pytest

from tests.tools.convert.converting import convert, examples, value
from tests.utils.tiny_images import write_files
from tools.validate.__main__ import main as validate
from utils.records.manifest import read_manifest


def file_of(folder, source, group_of):
    lines = [f"{path.name},{group_of(path.name)}" for path in sorted(source.rglob("*.jpg"))]
    path = folder / "groups.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def persons(name):
    return f"person {int(name[3]) // 2}"


def listed(folder):
    """The name and the group of each record of each split, in order."""
    found = []
    for split, part in sorted(read_manifest(folder).splits.items()):
        groups = [group for shard in part.shards for group in shard.groups]
        names = [value(example, "image/filename").decode() for example in examples(folder, split)]
        found += zip(names, groups, strict=True)
    return found


def test_the_groups_of_a_file_reach_the_manifest_in_the_order_of_the_records(source, tmp_path):
    write_files(
        source, {f"train/{name}/{name}{number}.jpg": b"no image" for name in ("cat", "dog") for number in (7, 8)}
    )
    groups = file_of(tmp_path, source, "of {}".format)
    assert convert(source, tmp_path / "out", f"--groups={groups}", "--skip_unreadable", "--train_shards", "2") == 3
    found = listed(tmp_path / "out")
    assert len(found) == 18, "the unreadable images have no record"
    assert found == [(name, f"of {name}") for name, _ in found]


def test_a_path_below_the_source_wins_over_a_file_name(source, tmp_path):
    groups = file_of(tmp_path, source, persons)
    groups.write_text(groups.read_text() + "train/cat/cat0.jpg,alone\n")
    assert convert(source, tmp_path / "out", f"--groups={groups}") == 0
    assert [group for name, group in listed(tmp_path / "out") if name == "cat0.jpg"].count("alone") == 1


def test_a_repaired_copy_keeps_the_groups_of_its_records(source, tmp_path):
    assert convert(source, tmp_path / "out", f"--groups={file_of(tmp_path, source, persons)}") == 0
    validate([str(tmp_path / "out"), "--fix", str(tmp_path / "copy")])
    found = listed(tmp_path / "copy")
    assert found
    assert all(group == persons(name) for name, group in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat0.jpg,a\n", "--groups {}: has no group for 16 images: train/cat/cat1.jpg, train/cat/cat2.jpg"),
        ("cat0.jpg\n", "--groups {}: line 1 is 'cat0.jpg'; must be file name,group"),
        ("cat0.jpg,a\ncat0.jpg,b\n", "--groups {}: line 2 gives cat0.jpg another group than before"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(source, tmp_path, capsys, text, message):
    path = tmp_path / "groups.csv"
    path.write_text(text)
    assert convert(source, tmp_path / "out", f"--groups={path}") == 2
    assert message.format(path) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
