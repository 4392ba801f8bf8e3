"""Files that match patterns: found, counted, and described by the manifest beside them."""

import shutil

import pytest

from tests.utils.records.records import write_records
from utils.errors import RunError
from utils.records.manifest import CONVERSION_FOLDER, read_manifest
from utils.records.split_files import load_pattern


def test_patterns_take_counts_and_manifest_from_the_one_beside_the_files(folder, monkeypatch):
    monkeypatch.setattr(
        "utils.records.record_files.count_records", lambda path: pytest.fail("the manifest has the counts")
    )
    files = load_pattern([f"{folder}/train-0000[02]*", f"{folder}/*-of-00003"], "train", "--input")
    assert [path.rsplit("/", 1)[1] for path in files.paths] == [f"train-0000{index}-of-00003" for index in (0, 2, 1)]
    assert (files.counts, files.manifest) == ((3, 2, 0), read_manifest(folder))


def test_patterns_may_be_one_text_with_commas(folder):
    files = load_pattern([f"{folder}/train-00000*, {folder}/train-00002*"], "train", "--input")
    assert files.counts == (3, 2)


def test_a_comma_may_be_part_of_a_path(folder, tmp_path):
    odd = tmp_path / "a, b"
    shutil.copytree(folder, odd)
    assert load_pattern([f"{odd}/train-*"], "train", "--train_input").paths == tuple(
        str(path) for path in sorted(odd.glob("train-*"))
    )


def test_files_that_no_manifest_lists_are_counted(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_records(elsewhere / "a.record", 7)
    write_records(folder / "extra.record", 2)
    assert load_pattern([f"{elsewhere}/a*"], "train", "--input").counts == (7,)
    for patterns, counts in (
        ([f"{folder}/train*0-of*", f"{elsewhere}/*"], (3, 7)),
        ([f"{folder}/train*0-of*", f"{folder}/extra*"], (3, 2)),
    ):
        files = load_pattern(patterns, "train", "--input")
        assert (files.counts, files.manifest) == (counts, None)


def test_patterns_check_the_sizes_that_the_manifest_has(folder):
    path = folder / "train-00000-of-00003"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        RunError, match=r"train-00000-of-00003: is truncated: it has 68 bytes, but the dataset.json beside"
    ):
        load_pattern([f"{folder}/train*"], "train", "--input")


@pytest.mark.parametrize("pattern", ["/absent*", "/dataset.json", "/.*"])
def test_a_pattern_that_matches_nothing_is_named_with_what_named_it(folder, pattern):
    with pytest.raises(RunError) as error:
        load_pattern([f"{folder}/train*,{folder}{pattern}"], "train", "train_input_reader.input_path")
    assert str(error.value) == (
        f"train_input_reader.input_path {folder}{pattern}: no file matches; must match the train records"
    )


def test_empty_patterns_and_files_without_records_are_sentences(tmp_path):
    with pytest.raises(RunError, match="--input of nothing: no file matches"):
        load_pattern([""], "train", "--input")
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(RunError, match=r"--input .*/a: the 1 files that match hold no record"):
        load_pattern([f"{tmp_path}/a"], "train", "--input")


def test_patterns_do_not_read_a_conversion_that_never_ended(tmp_path):
    write_records(tmp_path / "coco_train.record-00000-of-00002", 2)
    (tmp_path / CONVERSION_FOLDER).mkdir()
    with pytest.raises(RunError, match=f"--input {tmp_path}: its conversion was not completed"):
        load_pattern([f"{tmp_path}/coco*"], "train", "--input")
