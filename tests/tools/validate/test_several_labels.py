"""Records of images with several labels: faults are found, sound ones are clean, copies keep them."""

import shutil

import pytest

from tests.tools.convert.converting import convert
from tests.tools.validate.validating import as_it_is, files, kinds, payloads, spoil, validate, write
from tests.utils.tiny_images import jpeg, write_files
from utils.records.manifest import read_manifest


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("several")
    names = [f"{number}.jpg" for number in range(8)]
    write_files(root / "images", {name: jpeg(number) for number, name in enumerate(names)})
    rows = [f"{name},{('x;y', 'y', 'x;z', '')[number % 4]},{'val' if number > 5 else 'train'}" for number, name in
            enumerate(names)]  # fmt: skip
    (root / "labels.csv").write_text("\n".join(["file,labels,split", *rows]))
    assert convert(root / "images", root / "records", f"--labels={root / 'labels.csv'}") == 0
    return root / "records"


@pytest.fixture
def records(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "records")


def number_with(file, count):
    """The number of a record with so many labels."""
    from utils.records.example_proto import decode_example

    sizes = [len(decode_example(payload).get("image/class/label", ())) for payload in payloads(file)]
    return sizes.index(count)


def test_sound_records_are_clean_and_their_copy_keeps_all_labels(records, tmp_path, capsys):
    status, findings = validate(records, "--fix", tmp_path / "copy", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (0, set())
    assert "clean: 8 images, no faults" in capsys.readouterr().out
    assert read_manifest(tmp_path / "copy").multi_label
    assert [file.read_bytes() for file in files(tmp_path / "copy")] == [file.read_bytes() for file in files(records)]


@pytest.mark.parametrize(
    ("features", "kind", "message"),
    [
        ({"image__class__label": [1, 9]}, "label_range", "label 9 is outside 1..3"),
        ({"image__class__text": [b"x"]}, "label_name", "has 1 class name for 2 labels"),
        ({"image__class__text": [b"x", b"x"]}, "label_name", "has the class name 'x' with the label"),
        ({"image__class__label": [0.5]}, "label_missing", "holds floats, and must hold integers"),
    ],
)
def test_a_fault_of_one_of_several_labels_is_named(records, tmp_path, features, kind, message):
    spoil(files(records)[0], number_with(files(records)[0], 2), **features)
    as_it_is(records)
    status, findings = validate(records, tmp_path=tmp_path)
    assert status == 1
    assert [finding["text"] for finding in findings if finding["kind"] == kind and message in finding["text"]]


def test_the_same_image_with_other_labels_is_a_conflict_and_with_the_same_in_another_order_is_none(records, tmp_path):
    from utils.records.example_proto import decode_example, encode_example

    file = files(records)[0]
    whole = payloads(file)
    number = number_with(file, 2)
    features = decode_example(whole[number])
    reversed_ = {key: list(reversed(features[key])) for key in ("image/class/label", "image/class/text")}
    write(file, [*whole, encode_example({**features, **reversed_})])
    as_it_is(records)
    assert kinds(validate(records, tmp_path=tmp_path)[1]) == set()
    fewer = {key: features[key][:1] for key in ("image/class/label", "image/class/text")}
    write(file, [*whole, encode_example({**features, **fewer})])
    as_it_is(records)
    _, findings = validate(records, tmp_path=tmp_path)
    assert kinds(findings) == {"label_conflict"}
    assert any("has the labels" in finding["text"] for finding in findings)


def test_records_without_a_manifest_are_those_of_one_label_unless_the_flag_is_given(records, tmp_path):
    (records / "dataset.json").unlink()
    shutil.rmtree(records / ".convert")
    _, findings = validate(records, tmp_path=tmp_path)
    assert kinds(findings) == {"label_missing"}
    assert any("--multi_label trains on several labels an image" in finding["text"] for finding in findings)
    assert kinds(validate(records, "--multi_label", tmp_path=tmp_path)[1]) == set()
