import json
import logging
from dataclasses import replace

import pytest

from utils.errors import RunError
from utils.manifest import (
    CONVERSION_FOLDER,
    Manifest,
    ShardFile,
    Split,
    SplitFiles,
    load_pattern,
    load_split,
    read_manifest,
    write_manifest,
)
from utils.tfrecord_file import frame


def _write_records(path, count):
    path.write_bytes(b"".join(before + b"payload" + after for before, after in [frame(b"payload")] * count))
    return path.stat().st_size


@pytest.fixture
def folder(tmp_path):
    """A data folder with a manifest: 3 + 0 + 2 training examples, 4 for validation."""
    splits = {}
    for split, counts in (("train", (3, 0, 2)), ("validation", (4,))):
        names = [f"{split}-{index:05d}-of-{len(counts):05d}" for index in range(len(counts))]
        splits[split] = Split(
            shards=tuple(
                ShardFile(file=name, examples=count, bytes=_write_records(tmp_path / name, count), sha256="ab" * 32)
                for name, count in zip(names, counts, strict=True)
            )
        )
    write_manifest(tmp_path, Manifest(class_names=("cat", "dög"), class_count=2, head_size=3, splits=splits))
    return tmp_path


def test_what_is_written_is_read_back(folder):
    manifest = read_manifest(folder)
    assert manifest.class_names == ("cat", "dög")
    assert (manifest.class_count, manifest.head_size, manifest.label_offset, manifest.task) == (
        *(2, 3, 1),
        "classification",
    )
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 5, "validation": 4}
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_the_file_has_the_agreed_form(folder):
    content = json.loads((folder / "dataset.json").read_text("utf-8"))
    assert list(content) == [
        *("format", "task", "class_names", "class_count", "head_size", "label_offset", "splits", "source_sha256"),
        "created_by",
    ]
    assert content["format"] == 1
    assert content["splits"]["train"]["examples"] == 5
    assert content["splits"]["train"]["shards"][0] == {
        "file": "train-00000-of-00003",
        "examples": 3,
        "bytes": 3 * (7 + 16),
        "sha256": "ab" * 32,
    }


def test_a_folder_without_manifest_has_none(tmp_path):
    assert read_manifest(tmp_path) is None
    assert read_manifest(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "Expecting property name"),
        ("[]", "it is not a JSON object"),
        ({"format": 2}, "its format is 2, and this version reads format 1"),
        ({"format": None}, '"format" is None, and must be a whole number'),
        ({"class_count": 3}, '"class_count" is 3, and there are 2 class names'),
        ({"class_count": True}, '"class_count" is True, and must be a whole number'),
        ({"head_size": 1}, '"head_size" is 1, below the 2 classes'),
        ({"label_offset": -1}, '"label_offset" is -1, and must be 0 or more'),
        ({"class_names": ["cat", 7]}, '"class_names" has 7 in it, and must be a list with text at every place'),
        ({"task": "segmentation"}, "\"task\" is 'segmentation', and must be one of classification, detection"),
        ({"splits": {"train": 3}}, 'its split "train" is not a JSON object'),
        ({"splits": {"train": {"examples": 9, "shards": []}}}, 'its split "train" says 9 examples, its shards 0'),
        ({"splits": {"train": {"examples": 0, "shards": [{"examples": 0}]}}}, '"file" is missing, and must be text'),
    ],
)
def test_an_unsound_manifest_is_a_sentence_that_names_it(folder, change, message):
    path = folder / "dataset.json"
    if isinstance(change, dict):
        change = json.dumps(json.loads(path.read_text("utf-8")) | change)
    path.write_text(change)
    with pytest.raises(RunError) as error:
        read_manifest(folder)
    assert str(error.value).startswith(f"{path}: is not a sound manifest: {message}")
    assert "utils.convert_dataset" in str(error.value)


def test_a_manifest_that_is_not_text_is_a_sentence(folder):
    (folder / "dataset.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(RunError, match="is not a sound manifest"):
        read_manifest(folder)


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
    _write_records(folder / "train-00000-of-00001", 7)
    assert load_split(folder, "train").examples == 5


def test_a_listed_file_that_is_missing_is_named(folder):
    (folder / "train-00002-of-00003").unlink()
    with pytest.raises(RunError, match=r"train-00002-of-00003: is missing; dataset.json of --data_dir .* lists it"):
        load_split(folder, "train")
    assert load_split(folder, "validation").examples == 4


def test_a_file_that_was_cut_off_is_named_with_its_sizes(folder):
    path = folder / "train-00000-of-00003"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"train-00000-of-00003: was cut off: it has 68 bytes and dataset.json .* 69"):
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
        _write_records(tmp_path / f"train-0000{index}-of-00002", count)
    files = load_split(tmp_path, "train")
    assert (files.counts, files.manifest) == ((2, 3), None)
    assert "has no dataset.json, so the records were counted: 5 in 2 train files" in caplog.text
    monkeypatch.setattr("utils.record_files.count_records", lambda path: pytest.fail("counted a second time"))
    assert load_split(tmp_path, "train").counts == (2, 3)


def test_a_file_that_changed_is_counted_again(tmp_path):
    path = tmp_path / "train-00000-of-00001"
    _write_records(path, 2)
    assert load_split(tmp_path, "train").counts == (2,)
    _write_records(path, 5)
    assert load_split(tmp_path, "train").counts == (5,)


def test_without_manifest_a_cut_off_file_is_named_with_its_record(tmp_path):
    path = tmp_path / "validation-00000-of-00001"
    _write_records(path, 2)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RunError, match=r"validation-00000-of-00001: record 1 is broken: the file ends inside it"):
        load_split(tmp_path, "validation")


def test_a_conversion_that_never_ended_is_not_read_as_a_smaller_data_set(tmp_path):
    _write_records(tmp_path / "train-00000-of-00002", 2)
    (tmp_path / CONVERSION_FOLDER).mkdir()
    with pytest.raises(RunError, match="its conversion was never completed"):
        load_split(tmp_path, "train")


def test_a_missing_folder_is_a_sentence(tmp_path):
    with pytest.raises(RunError, match=r"--data_dir .*absent: no such folder"):
        load_split(tmp_path / "absent", "train")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="file: is a file, not a folder"):
        load_split(tmp_path / "file", "train")


def test_a_folder_where_no_name_matches_tells_what_is_there(tmp_path):
    with pytest.raises(
        RunError, match=r"no file is named train-\* or coco_train\* and there is no dataset.json; the folder holds not"
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


def _detection(**changes):
    fields = {"class_names": ("cat", "dog"), "class_count": 2, "head_size": 4, "label_offset": 0, "task": "detection"}
    return Manifest(**{**fields, "category_ids": (1, 3), **changes})


def test_a_manifest_for_detection_has_category_ids():
    text = _detection().to_json()
    assert json.loads(text)["category_ids"] == [1, 3]
    assert Manifest.from_json(text) == _detection()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("cat", "cat")}, '"class_names" has a name twice'),
        ({"category_ids": None}, '"category_ids" has 0 ids, and there are 2 class names'),
        ({"category_ids": (1,)}, '"category_ids" has 1 ids, and there are 2 class names'),
        ({"category_ids": (0, 3)}, '"category_ids" must be 1 or more, and ascend'),
        ({"category_ids": (3, 1)}, '"category_ids" must be 1 or more, and ascend'),
        ({"category_ids": (3, 3)}, '"category_ids" must be 1 or more, and ascend'),
        ({"category_ids": (1, "3")}, "\"category_ids\" has '3' in it, and must be a list with a whole number at every"),
        ({"head_size": 3}, '"head_size" is 3, and must exceed 3, the largest category id'),
        ({"task": "classification"}, '"category_ids" are for the task detection, and the task is classification'),
    ],
)
def test_category_ids_must_fit_the_rest(changes, message):
    with pytest.raises(ValueError, match=message):
        Manifest.from_json(_detection(**changes).to_json())


def test_classes_may_share_a_name_in_classification():
    manifest = Manifest(class_names=("crane", "crane"), class_count=2, head_size=2)
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_without_manifest_detections_files_are_found_too(tmp_path):
    _write_records(tmp_path / "coco_val.record-00000-of-00001", 3)
    assert load_split(tmp_path, "validation").counts == (3,)


def test_patterns_take_counts_and_manifest_from_the_one_beside_the_files(folder, monkeypatch):
    monkeypatch.setattr("utils.record_files.count_records", lambda path: pytest.fail("the manifest has the counts"))
    files = load_pattern([f"{folder}/train-0000[02]*", f"{folder}/*-of-00003"], "train", "--input")
    assert [path.rsplit("/", 1)[1] for path in files.paths] == [f"train-0000{index}-of-00003" for index in (0, 2, 1)]
    assert (files.counts, files.manifest) == ((3, 2, 0), read_manifest(folder))


def test_patterns_may_be_one_text_with_commas(folder):
    files = load_pattern([f"{folder}/train-00000*, {folder}/train-00002*"], "train", "--input")
    assert files.counts == (3, 2)


def test_files_that_no_manifest_lists_are_counted(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    _write_records(elsewhere / "a.record", 7)
    _write_records(folder / "extra.record", 2)
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
        RunError, match=r"train-00000-of-00003: was cut off: it has 68 bytes and the dataset.json beside"
    ):
        load_pattern([f"{folder}/train*"], "train", "--input")


@pytest.mark.parametrize("pattern", ["/absent*", "/dataset.json", "/.*"])
def test_a_pattern_that_matches_nothing_is_named_with_what_named_it(folder, pattern):
    with pytest.raises(RunError) as error:
        load_pattern([f"{folder}/train*,{folder}{pattern}"], "train", "train_input_reader.input_path")
    assert str(error.value) == (
        f"train_input_reader.input_path {folder}{pattern}: no file matches; it must name the train records"
    )


def test_empty_patterns_and_files_without_records_are_sentences(tmp_path):
    with pytest.raises(RunError, match="--input of nothing: no file matches"):
        load_pattern([""], "train", "--input")
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(RunError, match=r"--input .*/a: the 1 files that match hold no record"):
        load_pattern([f"{tmp_path}/a"], "train", "--input")


def test_patterns_do_not_read_a_conversion_that_never_ended(tmp_path):
    _write_records(tmp_path / "coco_train.record-00000-of-00002", 2)
    (tmp_path / CONVERSION_FOLDER).mkdir()
    with pytest.raises(RunError, match=f"--input {tmp_path}: its conversion was never completed"):
        load_pattern([f"{tmp_path}/coco*"], "train", "--input")
