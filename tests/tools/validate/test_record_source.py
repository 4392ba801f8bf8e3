"""Classification records: every planted fault is found, named, and absent from the repaired copy."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.tools.validate.validating import (
    as_it_is,
    files,
    kinds,
    labelled,
    payloads,
    spoil,
    validate,
    write,
)
from tests.utils.tiny_images import encoded, jpeg, pattern
from tools.dali_index import run as write_indexes
from tools.validate.__main__ import main
from tools.validate.decoded_image import decode_image
from utils.errors import RunError
from utils.records.example_proto import decode_example
from utils.records.split_files import load_split
from utils.records.tfrecord_file import iterate_payloads


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return labelled(tmp_path_factory.mktemp("labelled"))


def image_of(file, number):
    return decode_example(payloads(file)[number])["image/encoded"][0]


def flip_a_byte(folder):
    file = files(folder)[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    as_it_is(folder)


def cut_off(folder):
    file = files(folder)[1]
    file.write_bytes(file.read_bytes()[:-100])
    as_it_is(folder)


def change(**features):
    def do(folder):
        spoil(files(folder)[0], 2, **features)
        as_it_is(folder)

    return do


def same_image_in_validation(folder):
    spoil(files(folder)[0], 2, image__encoded=[image_of(files(folder, "validation")[0], 1)])
    as_it_is(folder)


def compressed_anew_in_validation(folder):
    with Image.open(io.BytesIO(image_of(files(folder, "validation")[0], 1))) as image:
        spoil(files(folder)[0], 2, image__encoded=[encoded(image.copy(), "JPEG", quality=70)])
    as_it_is(folder)


def same_image_with_another_label(folder):
    first, second = files(folder)
    for number in range(6):
        if (
            decode_example(payloads(second)[number])["image/class/label"]
            != decode_example(payloads(first)[2])["image/class/label"]
        ):
            spoil(second, number, image__encoded=[image_of(first, 2)])
            break
    as_it_is(folder)


def not_an_example(folder):
    file = files(folder)[0]
    write(file, [*payloads(file)[:2], b"\xff\xff no message", *payloads(file)[3:]])
    as_it_is(folder)


def cut_the_manifest(folder):
    (folder / "dataset.json").write_text('{"format": 1, "task"')


def remove_a_file(folder):
    files(folder)[1].unlink()


def one_record_less(folder):
    file = files(folder)[0]
    write(file, payloads(file)[:-1])


def change_bytes(folder):
    file = files(folder)[0]
    write(file, [payloads(file)[1], payloads(file)[0], *payloads(file)[2:]])


def index_of_something_else(folder):
    write_indexes(folder, folder / ".dali_idx")
    file = folder / ".dali_idx" / files(folder)[0].name
    file.write_text(file.read_text().replace("0 ", "1 ", 1))


PLANTED = {
    "record_broken": (flip_a_byte, "train-00000-of-00002"),
    "record_broken, cut off": (cut_off, "train-00001-of-00002"),
    "record_content": (not_an_example, "train-00000-of-00002"),
    "image_unreadable, half": (change(image__encoded=[jpeg()[:-300]]), "train-00000-of-00002"),
    "image_unreadable, no end": (change(image__encoded=[jpeg()[:-2]]), "train-00000-of-00002"),
    "image_unreadable, text": (change(image__encoded=[b"no image at all, but many letters"]), "train-00000-of-00002"),
    "image_unreadable, none": (change(image__encoded=None), "train-00000-of-00002"),
    "image_unreadable, webp": (change(image__encoded=[encoded(pattern(seed=77), "WEBP")]), "train-00000-of-00002"),
    "image_unreadable, png": (
        change(image__encoded=[encoded(pattern(seed=77)).replace(b"IDAT", b"IDAX")]),
        "train-00000-of-00002",
    ),
    "image_size": (change(image__height=[25]), "train-00000-of-00002"),
    "label_missing": (change(image__class__label=None), "train-00000-of-00002"),
    "label_missing, two": (change(image__class__label=[1, 2]), "train-00000-of-00002"),
    "label_range, 0": (change(image__class__label=[0]), "train-00000-of-00002"),
    "label_range, 3": (change(image__class__label=[3]), "train-00000-of-00002"),
    "label_name": (change(image__class__text=["Löwe".encode()]), "train-00000-of-00002"),
    "label_conflict": (same_image_with_another_label, "train-00000-of-00002"),
    "duplicate_in_splits": (same_image_in_validation, "train-00000-of-00002"),
    "similar_in_splits": (compressed_anew_in_validation, "train-00000-of-00002"),
    "manifest": (cut_the_manifest, "dataset.json"),
    "file_missing": (remove_a_file, "train-00001-of-00002"),
    "file_changed": (change_bytes, "train-00000-of-00002"),
    "record_count": (one_record_less, "train-00000-of-00002"),
    "index": (index_of_something_else, "train-00000-of-00002"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_fault_is_named_and_gone_from_the_copy(name, records, tmp_path, capsys):
    plant, file = PLANTED[name]
    plant(records)
    kind = name.partition(",")[0]
    status, findings = validate(records, "--fix", tmp_path / "repaired", tmp_path=tmp_path)
    assert status == 1
    expected = {kind} | ({"file_changed"} if kind == "record_count" else set())
    assert kinds(findings) == expected
    assert {finding["file"] for finding in findings if finding["kind"] == kind} <= {file, "train-00001-of-00002"}
    out = capsys.readouterr().out
    assert f"({kind}): " in out
    assert file in out
    status, findings = validate(tmp_path / "repaired", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (0, set())
    assert load_split(tmp_path / "repaired", "train").examples in (5, 6, 10, 11, 12)


def test_sound_records_are_clean_and_their_copy_is_the_same(records, tmp_path, capsys):
    write_indexes(records, tmp_path / "index")
    status, findings = validate(
        records, "--dali", tmp_path / "index", "--fix", tmp_path / "copy", tmp_path=tmp_path, workers=2
    )
    assert (status, findings) == (0, [])
    assert "clean: 18 images, no faults" in capsys.readouterr().out
    for file in (*files(records), *files(records, "validation")):
        assert (tmp_path / "copy" / file.name).read_bytes() == file.read_bytes()


def test_an_index_of_one_split_is_whole_unless_its_folder_is_named(records, tmp_path):
    """The program leaves index files beside the records only of the splits that it reads."""
    write_indexes(records, records / ".dali_idx")
    for file in files(records, "validation"):
        (records / ".dali_idx" / file.name).unlink()
    assert validate(records, tmp_path=tmp_path) == (0, [])
    status, findings = validate(records, "--dali", records / ".dali_idx", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"index"})


def test_broken_records_leave_the_others_alone(records, tmp_path):
    flip_a_byte(records)
    assert validate(records, "--fix", tmp_path / "repaired", tmp_path=tmp_path)[0] == 1
    left = payloads(files(tmp_path / "repaired")[0])
    assert len(left) == 5
    assert set(left) < set(payloads(files(records)[0]))


def test_records_without_a_manifest_are_checked_by_what_they_say(records, tmp_path):
    spoil(files(records)[0], 2, image__class__label=[0])
    (records / "dataset.json").unlink()
    status, findings = validate(records, "--fix", tmp_path / "repaired", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"manifest", "label_range"})  # an unfinished conversion
    assert validate(tmp_path / "repaired", tmp_path=tmp_path)[0] == 0


def test_a_split_of_which_nothing_is_left_is_a_sentence(records, tmp_path, capsys):
    for number in range(6):
        spoil(files(records, "validation")[0], number, image__encoded=[b"text"])
    as_it_is(records)
    assert validate(records, "--fix", tmp_path / "repaired", tmp_path=tmp_path)[0] == 1
    assert "error: " in (error := capsys.readouterr().err)
    assert "nothing is left of its split validation" in error
    assert not (tmp_path / "repaired").exists()
    assert not list(tmp_path.glob(".repaired*"))


def test_remarks_are_no_faults(records, tmp_path):
    first = files(records)[0]
    spoil(first, 2, image__encoded=[jpeg(5, orientation=6)])
    same = [decode_example(one) for one in payloads(first)]
    twin = next(i for i in (3, 4, 5) if same[i]["image/class/label"] == same[0]["image/class/label"])
    spoil(first, twin, image__encoded=same[0]["image/encoded"])
    (records / "train-00007-of-00009").write_bytes(first.read_bytes())
    as_it_is(records)
    status, findings = validate(records, tmp_path=tmp_path)
    assert status == 0
    assert kinds(findings, "remark") == {"image_turned", "duplicate", "file_unlisted"}


def test_faint_pixels_of_a_record_are_remarked_since_training_reads_them():
    for top in (0xFF, 0xFFF):
        png = encoded(Image.fromarray(np.full((24, 36), top, np.uint16)))
        (note,) = decode_image(png, as_record=True).notes
        assert note[0] == "image_faint"
        assert decode_image(png, as_record=False).notes[0][0] == ("image_unreadable" if top == 0xFF else "image_faint")


def without_manifest(folder):
    (folder / "dataset.json").unlink()
    shutil.rmtree(folder / ".convert")


def test_splits_and_files_without_a_record_are_named(records, tmp_path):
    without_manifest(records)
    (records / "train-00001-of-00002").write_bytes(b"")
    (records / "validation-00000-of-00001").write_bytes(b"")
    status, findings = validate(records, tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"split_empty"})
    assert [one["file"] for one in findings if one["kind"] == "file_empty"] == [
        "train-00001-of-00002",
        "validation-00000-of-00001",
    ]


def test_a_file_missing_by_the_names_of_the_others_is_a_fault(records, tmp_path):
    without_manifest(records)
    (records / "train-00000-of-00002").unlink()
    status, findings = validate(records, tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"file_missing"})
    assert findings[0]["file"] == "train-00000-of-00002"


def test_a_listed_link_out_of_the_folder_is_not_read(records, tmp_path):
    file = files(records)[0]
    outside = file.rename(tmp_path / "outside")
    file.symlink_to(outside)
    status, findings = validate(records, tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"file_outside"})


def test_classes_whose_names_hardly_differ_are_remarked(records, tmp_path):
    path = records / "dataset.json"
    content = json.loads(path.read_text())
    content["class_names"] = ["cat", "Cat "]
    path.write_text(json.dumps(content))
    _, findings = validate(records, tmp_path=tmp_path)
    assert "class_names" in kinds(findings, "remark")


def test_a_record_file_as_source_names_its_folder(records, capsys):
    file = files(records)[0]
    assert main([str(file)]) == 2
    assert f"SRC {file}: is a record file; give the folder that holds it: {records}" in capsys.readouterr().err


def test_a_copy_that_lost_a_record_is_not_finished(records, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tools.validate.record_source.iterate_payloads", broken_when_copied)
    assert main([str(records), "--workers=1", f"--fix={tmp_path / 'copy'}"]) == 1
    assert "the checksum of its data is wrong; the file changed while it was copied" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def broken_when_copied(path, places):
    for payload, _ in iterate_payloads(path, places):
        yield payload, "the checksum of its data is wrong"


def test_two_sources_of_one_name_are_not_copied(sound, tmp_path, capsys):
    both = [shutil.copytree(sound, tmp_path / place / "data") for place in ("a", "b")]
    assert main([*map(str, both), f"--fix={tmp_path / 'copy'}"]) == 2
    assert "the copies of two SRC would both be named data" in capsys.readouterr().err


def test_a_split_with_files_that_the_manifest_does_not_list_is_a_fault_as_a_run_refuses_it(records, tmp_path):
    path = records / "dataset.json"
    manifest = json.loads(path.read_text())
    del manifest["splits"]["validation"]
    path.write_text(json.dumps(manifest))
    status, findings = validate(records, tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"manifest"})
    text = "lists no split validation, and the folder has validation-00000-of-00001"
    assert [one["text"] for one in findings if one["kind"] == "manifest"] == [text]
    with pytest.raises(RunError, match="has no validation examples"):
        load_split(records, "validation")
