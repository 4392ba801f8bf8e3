"""Image folders: faults, repaired copies, names of any kind."""

import shutil

import pytest

from tests.tools.validate.validating import kinds, validate
from tests.utils.tiny_images import encoded, jpeg, pattern, two_classes, write_files

HARD = "train/cat/Ж žluťoučký\n猫.jpg"


def spoiled(tmp_path, files):
    return write_files(two_classes(tmp_path / "images"), files)


def copied(tmp_path, source, target):
    root = two_classes(tmp_path / "images")
    (root / target).write_bytes((root / source).read_bytes())
    return root


def test_sound_folders_are_clean_and_their_copy_is_the_same(tmp_path):
    root = spoiled(tmp_path, {HARD: jpeg(3000)})
    status, findings = validate(root, "--fix", tmp_path / "copy", tmp_path=tmp_path, workers=2)
    assert (status, findings) == (0, [])
    for path in root.rglob("*.jpg"):
        assert (tmp_path / "copy" / path.relative_to(root)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is empty"),
        (jpeg()[:-300], "does not decode"),
        (b"text, and a lot of it, in a file", "no image|not an image"),
    ],
)
def test_an_image_that_cannot_be_read_is_named_whatever_it_is_called(data, text, tmp_path, capsys):
    root = spoiled(tmp_path, {HARD: data})
    status, findings = validate(root, "--fix", tmp_path / "repaired", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"image_unreadable"})
    assert findings[0]["file"] == "train/cat/Ж žluťoučký\\n猫.jpg"
    assert any(part in findings[0]["text"] for part in text.split("|"))
    assert "train/cat/Ж žluťoučký\\n猫.jpg: " in capsys.readouterr().out
    assert validate(tmp_path / "repaired", tmp_path=tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        ("validation/cat/cat0.jpg", "train/cat/other.jpg", "duplicate_in_splits"),
        ("train/dog/dog0.jpg", "train/cat/other.jpg", "label_conflict"),
    ],
)
def test_copies_are_named_and_gone_from_the_copy(source, target, kind, tmp_path):
    root = copied(tmp_path, source, target)
    status, findings = validate(root, "--fix", tmp_path / "repaired", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {kind})
    assert not (tmp_path / "repaired" / target).exists()
    assert (tmp_path / "repaired" / "validation/cat/cat0.jpg").exists()
    assert validate(tmp_path / "repaired", tmp_path=tmp_path)[0] == 0


def test_a_picture_in_another_size_and_format_is_nearly_the_same(tmp_path):
    large = pattern(240, 360, seed=4000)
    root = spoiled(
        tmp_path,
        {
            "train/cat/large.jpg": encoded(large, "JPEG", quality=80),
            "validation/cat/small.png": encoded(large[::2, ::2]),
        },
    )
    status, findings = validate(root, tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"similar_in_splits"})
    assert findings[0]["file"] == "train/cat/large.jpg"


def test_pictures_without_contrast_are_not_taken_for_each_other(tmp_path):
    flat = pattern() * 0
    root = spoiled(tmp_path, {"train/cat/a.png": encoded(flat + 20), "validation/cat/b.png": encoded(flat + 21)})
    assert validate(root, tmp_path=tmp_path) == (0, [])


def test_classes_that_are_empty_or_alone_are_remarked(tmp_path):
    root = spoiled(tmp_path, {"train/fox/": b""})
    shutil.rmtree(root / "validation")
    for path in (root / "train" / "dog").iterdir():
        path.unlink()
    status, findings = validate(root, "--fix", tmp_path / "copy", tmp_path=tmp_path)
    assert status == 0
    assert kinds(findings, "remark") >= {"class_empty", "one_class"}
    assert sorted(path.name for path in (tmp_path / "copy" / "train").iterdir()) == ["cat", "dog", "fox"]


def test_a_class_that_is_only_validated_and_a_large_one_are_remarked(tmp_path):
    files = {f"train/cat/more{i}.jpg": jpeg(5000 + i) for i in range(20)} | {"validation/fox/1.jpg": jpeg(9000)}
    root = spoiled(tmp_path, {**files, "train/fox/": b""})
    for path in sorted((root / "train" / "dog").iterdir())[1:]:
        path.unlink()
    status, findings = validate(root, tmp_path=tmp_path)
    assert status == 0
    assert kinds(findings, "remark") >= {"class_untrained", "class_balance"}


def test_a_folder_that_is_no_data_set_is_a_sentence(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert validate(tmp_path / "empty", tmp_path=tmp_path)[0] == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'empty'}: holds no class folders")
