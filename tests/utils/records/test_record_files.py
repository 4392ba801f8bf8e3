import pytest

from utils.errors import RunError
from utils.records.record_files import check_size, count, count_by_name, files_of_pattern
from utils.records.tfrecord_file import framed


def write_records(path, number):
    path.write_bytes(framed(b"x") * number)


def test_detections_files_are_found_by_their_names(tmp_path):
    names = {
        "train": ["coco_train.record-00000-of-00002", "coco_train.record-00001-of-00002"],
        "validation": ["coco_val.record-00000-of-00001"],
        "testdev": ["coco_testdev.record"],
    }
    for split in names.values():
        for number, name in enumerate(split, 1):
            write_records(tmp_path / name, number)
    for other in ("coco_train_label_map.pbtxt", "coco_train.json", ".coco_train.record.tmp", "coco_train.tmp"):
        (tmp_path / other).write_bytes(b"no record")
    (tmp_path / "coco_train_images").mkdir()
    for split, files in names.items():
        found = count_by_name(tmp_path, split, "here")
        assert found == (tuple(str(tmp_path / name) for name in files), tuple(range(1, len(files) + 1)))


def test_classifications_names_come_first(tmp_path):
    write_records(tmp_path / "coco_train.record", 1)
    write_records(tmp_path / "train-00000-of-00001", 2)
    assert count_by_name(tmp_path, "train", "here")[1] == (2,)


def test_a_folder_without_them_is_a_sentence_that_names_what_was_looked_for(tmp_path):
    (tmp_path / "other").write_bytes(b"")
    with pytest.raises(RunError) as error:
        count_by_name(tmp_path, "validation", "--data_dir d")
    assert str(error.value).startswith(
        "--data_dir d: no file is named validation-* or coco_val*, and there is no dataset.json; the folder holds other"
    )


def test_patterns_pass_over_what_cannot_be_records(tmp_path):
    for name in ("a.record-1", "a.record-0", ".a.record-2", "a.tmp", "a.pbtxt", "a.json", "a.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a.folder").mkdir()
    assert files_of_pattern(f"{tmp_path}/a*") == [tmp_path / "a.record-0", tmp_path / "a.record-1"]
    assert files_of_pattern(f"{tmp_path}/a.record-?") == [tmp_path / "a.record-0", tmp_path / "a.record-1"]
    assert files_of_pattern(f"{tmp_path}/b*") == []


def test_a_file_that_changed_is_counted_again(tmp_path):
    write_records(tmp_path / "a", 2)
    assert count(tmp_path / "a") == 2
    write_records(tmp_path / "a", 5)
    assert count(tmp_path / "a") == 5


def test_sizes_are_compared_with_what_is_said_of_them(tmp_path):
    (tmp_path / "a").write_bytes(bytes(4))
    check_size(tmp_path / "a", 4, "the list")
    check_size(tmp_path / "a", None, "the list")
    with pytest.raises(RunError, match="a: is truncated: it has 4 bytes, but the list says 5; copy it again"):
        check_size(tmp_path / "a", 5, "the list")
    with pytest.raises(RunError, match="a: was changed: it has 4 bytes, but the list says 3"):
        check_size(tmp_path / "a", 3, "the list")
    with pytest.raises(RunError, match="b: is missing; the list lists it"):
        check_size(tmp_path / "b", 5, "the list")


def test_missing_and_empty_files_of_a_split_are_warned_of(tmp_path, caplog):
    write_records(tmp_path / "train-00000-of-00003", 2)
    write_records(tmp_path / "train-00002-of-00003", 0)
    write_records(tmp_path / "coco_train.record", 1)
    assert count_by_name(tmp_path, "train", "here")[1] == (2, 0)
    assert "here: lacks 1 file of a numbered series: train-00001-of-00003" in caplog.text
    assert "here: 1 file without any record: train-00002-of-00003" in caplog.text
    assert "here: not used, as there are train-00000-of-00003 files of another name: coco_train.record" in caplog.text


def test_record_files_of_another_tool_are_named(tmp_path):
    write_records(tmp_path / "train.record", 1)
    (tmp_path / "valid").mkdir()
    write_records(tmp_path / "valid" / "cells.tfrecord", 1)
    with pytest.raises(RunError, match=r"2 record files of other names: train.record, valid/cells.tfrecord; name them"):
        count_by_name(tmp_path, "train", "here")


@pytest.mark.parametrize("target", ["/dev/zero", "/proc/self/environ", "gone"])
def test_a_file_that_is_no_file_is_refused(target, tmp_path):
    (tmp_path / "train-00000-of-00001").symlink_to(target)
    with pytest.raises(RunError, match="train-00000-of-00001: cannot be read"):
        count_by_name(tmp_path, "train", "here")
    with pytest.raises(RunError, match=r"train-00000-of-00001: (cannot be read|is missing)"):
        check_size(tmp_path / "train-00000-of-00001", 4, "the list")


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"\x1f\x8b" + bytes(30), "compressed with gzip"), (b"<html>" + bytes(30), "a web page"),
     (b"version https://git-lfs.github.com/spec/v1", "a git-lfs pointer")],
)  # fmt: skip
def test_a_file_of_another_kind_is_named_instead_of_a_broken_record(content, kind, tmp_path):
    (tmp_path / "train-00000-of-00001").write_bytes(content)
    with pytest.raises(RunError, match=f"record 0 is broken: the file holds no TFRecords: it is {kind}"):
        count_by_name(tmp_path, "train", "here")
