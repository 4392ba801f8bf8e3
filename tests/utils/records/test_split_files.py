"""The files of a split, with a manifest and without."""

import json
import logging
import shutil
from dataclasses import replace

import pytest

from tests.utils.records.records import write_records
from utils.errors import RunError
from utils.records.manifest import CONVERSION_FOLDER, Manifest, ShardFile, Split, read_manifest, write_manifest
from utils.records.split_files import SplitFiles, load_split, split_identity


def test_a_split_has_the_files_and_counts_of_the_manifest(folder):
    files = load_split(folder, "train")
    assert files.paths == tuple(str(folder / f"train-0000{index}-of-00003") for index in range(3))
    assert files.counts == (3, 0, 2)
    assert files.examples == 5
    assert files.offsets == (0, 3, 3)
    assert files.manifest == read_manifest(folder)


def test_an_example_is_located_past_empty_files():
    files = SplitFiles(("a", "b", "c", "d"), (0, 3, 0, 2))
    assert [files.locate(index) for index in range(5)] == [("b", 0), ("b", 1), ("b", 2), ("d", 0), ("d", 1)]
    for index in (-1, 5):
        with pytest.raises(IndexError):
            files.locate(index)


def test_files_that_the_manifest_does_not_list_are_not_read(folder):
    write_records(folder / "train-00000-of-00001", 7)
    assert load_split(folder, "train").examples == 5


def test_a_listed_file_that_is_missing_is_named(folder):
    (folder / "train-00002-of-00003").unlink()
    with pytest.raises(RunError, match=r"train-00002-of-00003: is missing; dataset.json of --data_dir .* lists it"):
        load_split(folder, "train")
    assert load_split(folder, "validation").examples == 4


def test_a_file_that_was_cut_off_is_named_with_its_sizes(folder):
    path = folder / "train-00000-of-00003"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"train-00000-of-00003: is truncated: it has 68 bytes, but dataset.json .* 69"):
        load_split(folder, "train")
    path.write_bytes(bytes(70))
    with pytest.raises(RunError, match="train-00000-of-00003: was changed: it has 70 bytes"):
        load_split(folder, "train")


def test_a_manifest_without_sizes_is_enough(folder):
    manifest = read_manifest(folder)
    shards = tuple(replace(shard, bytes=None, sha256=None) for shard in manifest.splits["train"].shards)
    write_manifest(folder, replace(manifest, splits={"train": Split(shards=shards)}))
    assert load_split(folder, "train").counts == (3, 0, 2)


def test_a_split_that_the_manifest_lacks_is_a_sentence(folder):
    manifest = read_manifest(folder)
    write_manifest(folder, replace(manifest, splits={"train": manifest.splits["train"]}))
    with pytest.raises(RunError, match=r"has no validation examples; it has train \(5 examples\)"):
        load_split(folder, "validation")


def test_without_manifest_the_records_are_counted_once_and_it_is_said(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    for index, count in enumerate((2, 3)):
        write_records(tmp_path / f"train-0000{index}-of-00002", count)
    files = load_split(tmp_path, "train")
    assert (files.counts, files.manifest) == ((2, 3), None)
    assert "has no dataset.json, so the records were counted: 5 in 2 train files" in caplog.text
    monkeypatch.setattr("utils.records.record_files.count_records", lambda path: pytest.fail("counted a second time"))
    assert load_split(tmp_path, "train").counts == (2, 3)


def test_a_file_that_changed_is_counted_again(tmp_path):
    path = tmp_path / "train-00000-of-00001"
    write_records(path, 2)
    assert load_split(tmp_path, "train").counts == (2,)
    write_records(path, 5)
    assert load_split(tmp_path, "train").counts == (5,)


def test_without_manifest_a_cut_off_file_is_named_with_its_record(tmp_path):
    path = tmp_path / "validation-00000-of-00001"
    write_records(path, 2)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RunError, match=r"validation-00000-of-00001: record 1 is broken: the file ends inside it"):
        load_split(tmp_path, "validation")


def test_a_conversion_that_never_ended_is_not_read_as_a_smaller_data_set(tmp_path):
    write_records(tmp_path / "train-00000-of-00002", 2)
    (tmp_path / CONVERSION_FOLDER).mkdir()
    with pytest.raises(RunError, match="its conversion was not completed"):
        load_split(tmp_path, "train")


def test_a_missing_folder_is_a_sentence(tmp_path):
    with pytest.raises(RunError, match=r"--data_dir .*absent: no such folder"):
        load_split(tmp_path / "absent", "train")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="file: is a file, not a folder"):
        load_split(tmp_path / "file", "train")


def test_a_folder_where_no_name_matches_tells_what_is_there(tmp_path):
    with pytest.raises(
        RunError, match=r"no file is named train-\* or coco_train\*, and there is no dataset.json; the folder holds not"
    ):
        load_split(tmp_path, "train")
    for index in range(7):
        (tmp_path / f"other{index}").write_bytes(b"")
    with pytest.raises(RunError, match="the folder holds other0, other1, other2, other3, other4 and 2 more;"):
        load_split(tmp_path, "train")


def test_files_without_any_record_are_a_sentence(tmp_path):
    (tmp_path / "train-00000-of-00001").write_bytes(b"")
    with pytest.raises(RunError, match=r"its 1 train files, train-00000-of-00001 first, hold no record"):
        load_split(tmp_path, "train")


def test_without_manifest_detections_files_are_found_too(tmp_path):
    write_records(tmp_path / "coco_val.record-00000-of-00001", 3)
    assert load_split(tmp_path, "validation").counts == (3,)


HOSTILE = {
    "deep lists": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "a file above": lambda content: content["splits"]["train"]["shards"][0].update(file="../secret"),
    "an absolute file": lambda content: content["splits"]["train"]["shards"][0].update(file="/etc/passwd"),
    "no name": lambda content: content["splits"]["train"]["shards"][0].update(file=".."),
    "a byte that no name has": lambda content: content["splits"]["train"]["shards"][0].update(file="a\0b"),
    "a file twice": lambda content: content["splits"]["train"]["shards"].append(
        content["splits"]["validation"]["shards"][0]
    ),
    "a class that is no text": lambda content: content["class_names"].__setitem__(0, "\ud800"),
    "a huge label": lambda content: content.update(label_offset=10**30),
    "a huge head": lambda content: content.update(head_size=10**30),
    "huge counts": lambda content: content["splits"]["train"]["shards"][0].update(examples=10**25),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_manifest_is_a_sentence(name, folder):
    path, change = folder / "dataset.json", HOSTILE[name]
    content = json.loads(path.read_text())
    if not isinstance(change, str):
        change(content)
        for split in content["splits"].values():
            split["examples"] = sum(shard["examples"] for shard in split["shards"])
    path.write_text(change if isinstance(change, str) else json.dumps(content))
    with pytest.raises(RunError, match=r"dataset.json: is not a valid manifest: "):
        read_manifest(folder)


def test_a_listed_file_leads_nowhere_else(folder, tmp_path_factory):
    """A link out of the folder is refused; a folder of links to a whole data set is not."""
    elsewhere = tmp_path_factory.mktemp("links")
    for path in folder.iterdir():
        (elsewhere / path.name).symlink_to(path)
    assert load_split(elsewhere, "train").examples == 5
    (elsewhere / "dataset.json").unlink()
    shutil.copy(folder / "dataset.json", elsewhere)
    with pytest.raises(RunError, match="train-00000-of-00003: is a link to a file outside the folder of its manifest"):
        load_split(elsewhere, "train")


def test_a_splits_identity_is_that_of_its_records(tmp_path):
    paths = []
    for name, content in (("a", b"12345"), ("b", b"12345"), ("c", b"123456")):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    one, same, larger = (split_identity(SplitFiles((str(path),), (3,))) for path in paths)
    assert one == same != larger  # without a manifest, sizes and counts are all that is known
    manifests = [
        Manifest(
            class_names=("x",),
            class_count=1,
            head_size=1,
            splits={"validation": Split(shards=(ShardFile(file="a", examples=3, bytes=5, sha256=digest),))},
        )
        for digest in ("11", "22")
    ]
    first, second = (split_identity(SplitFiles((str(paths[0]),), (3,), manifest)) for manifest in manifests)
    assert len({one, first, second}) == 3
