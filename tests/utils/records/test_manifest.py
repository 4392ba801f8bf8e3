"""The manifest: its format, and the errors that make it invalid."""

import json

import pytest

from utils.errors import RunError
from utils.records.manifest import Manifest, read_manifest


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
        ("{", "it is not valid JSON: Expecting property name"),
        ("{\n<<<<<<< HEAD\n", "it has a conflict marker of git in line 2"),
        (
            "version https://git-lfs.github.com/spec/v1\n",
            "it is a git-lfs pointer; git lfs pull fetches the file itself",
        ),
        ("[]", "it is not a JSON object"),
        ({"format": 2}, "its format is 2, and this version reads format 1"),
        ({"format": None}, '"format" is None, and must be a whole number'),
        ({"class_count": 3}, '"class_count" is 3, and there are 2 class names'),
        ({"class_count": True}, '"class_count" is True, and must be a whole number'),
        ({"head_size": 1}, '"head_size" is 1, below the 2 classes'),
        ({"label_offset": -1}, '"label_offset" is -1, and must be 0 or more'),
        ({"class_names": ["cat", 7]}, '"class_names" contains 7; every value of the list must be text'),
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
    assert str(error.value).startswith(f"{path}: is not a valid manifest: {message}")
    assert "tools.convert" in str(error.value)


def test_a_manifest_that_is_not_text_is_a_sentence(folder):
    (folder / "dataset.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(RunError, match="is not a valid manifest"):
        read_manifest(folder)


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
        ({"category_ids": (-1, 3)}, '"category_ids" must be 0 or more, and ascend'),
        ({"category_ids": (3, 1)}, '"category_ids" must be 0 or more, and ascend'),
        ({"category_ids": (3, 3)}, '"category_ids" must be 0 or more, and ascend'),
        ({"category_ids": (1, "3")}, "\"category_ids\" contains '3'; every value of the list must be a whole number"),
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
