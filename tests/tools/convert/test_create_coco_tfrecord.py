"""The command: its flags, the splits and the manifest that it writes, and the input that it rejects."""

import os
import subprocess
import sys

import pytest

from object_detection.label_map import read_label_map
from tests.object_detection.tiny_coco import CATEGORIES, annotation, content, image, tiny_split, write_split
from tests.tools.convert.coco_conversion import convert, examples
from tests.tools.convert.converting import ROOT, count_written, files, value
from tests.utils.tiny_images import jpeg
from tools.convert.coco_command import main
from utils.records.manifest import read_manifest
from utils.records.split_files import load_pattern, load_split

pytestmark = pytest.mark.usefixtures("listening")


def test_converting_never_loads_tensorflow(tmp_path):
    script = (
        "import sys\nfrom tools.convert.coco_command import main\n"
        "status = main(sys.argv[1:])\nassert 'tensorflow' not in sys.modules\nsys.exit(status)\n"
    )
    flags = ["--output_dir", tmp_path / "out", "--workers", "1", *tiny_split(tmp_path)]
    done = subprocess.run([sys.executable, "-c", script, *flags], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"reading {tmp_path / 'train.json'}",
        f"writing 6 images to 1 shard in {tmp_path / 'out'}",
        "train: 6 examples in 1 shard",
        f"2 classes, head size 4; described in {tmp_path / 'out' / 'dataset.json'}",
    ]


def test_all_three_splits_share_one_manifest_and_label_map(tmp_path):
    flags = [*tiny_split(tmp_path, "train", 5), *tiny_split(tmp_path, "val", 3)]
    info = content([image(7, "7.jpg")], [])
    del info["annotations"]
    flags += write_split(tmp_path, "test", info, {"7.jpg": jpeg(7)})
    out = tmp_path / "out"
    assert convert(out, *flags, "--train_shards=2", "--val_shards=1", "--testdev_shards=1", "--logtostderr") == 0
    assert sorted(files(out)) == [
        *("coco_testdev.record-00000-of-00001", "coco_train.record-00000-of-00002"),
        *("coco_train.record-00001-of-00002", "coco_val.record-00000-of-00001", "dataset.json", "label_map.pbtxt"),
    ]
    manifest = read_manifest(out)
    assert (manifest.class_names, manifest.category_ids, manifest.head_size) == (("cat", "dog"), (1, 3), 4)
    assert {name: split.examples for name, split in manifest.splits.items()} == {
        **{"train": 5, "validation": 3},
        "testdev": 1,
    }
    assert [(category.id, category.name) for category in read_label_map(out / "label_map.pbtxt")] == [
        *((1, "cat"), (3, "dog"))
    ]
    assert load_split(out, "testdev").examples == 1
    by_pattern = load_pattern([f"{out}/coco_train*"], "train", "--input")
    assert (by_pattern.counts, by_pattern.manifest) == ((3, 2), manifest)


def _spoil(tmp_path, name):
    (tmp_path / name / "1.jpg").write_bytes(b"nothing")
    (tmp_path / name / "2.jpg").unlink()


def test_unreadable_images_fail_at_the_end_with_every_one_named(tmp_path, capsys, monkeypatch):
    flags = [*tiny_split(tmp_path), *tiny_split(tmp_path, "val", 3), "--train_shards", "3"]
    _spoil(tmp_path, "train")
    (tmp_path / "val" / "0.jpg").write_bytes(b"")
    assert convert(tmp_path / "out", *flags) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[lines.index("error: 3 images cannot be read:") + 1 :][:3] == [
        "  train/1.jpg: is not an image of a known kind",
        "  train/2.jpg: cannot be read (No such file or directory)",
        "  val/0.jpg: is empty",
    ]
    assert "1 of 4 shards are complete and kept" in "\n".join(lines)
    written = count_written(monkeypatch)
    assert convert(tmp_path / "out", *flags, "--skip_unreadable") == 3
    assert len(written) == 4, "6 + 3 images, less 3 bad ones, less the 2 of the complete shard"
    assert {name: split.examples for name, split in read_manifest(tmp_path / "out").splits.items()} == {
        "train": 4,
        "validation": 2,
    }


def test_a_split_of_unreadable_images_alone_fails(tmp_path, capsys):
    coco = content([image(1, "a.jpg")], [annotation(1, 1, [0, 0, 4, 4])])
    flags = write_split(tmp_path, "train", coco, {"a.jpg": b"nothing"})
    assert convert(tmp_path / "out", *flags, "--skip_unreadable") == 1
    assert f"error: {tmp_path / 'train.json'}: none of its train images can be read" in capsys.readouterr().err


def test_files_that_disagree_on_the_classes_are_refused_with_the_difference(tmp_path, capsys):
    train = tiny_split(tmp_path)
    coco = content([image(1, "a.jpg")], [], [*CATEGORIES[1:], {"id": 4, "name": "dog"}])
    val = write_split(tmp_path, "val", coco, {"a.jpg": jpeg()})
    assert convert(tmp_path / "out", *train, *val) == 1
    train_file, val_file = tmp_path / "train.json", tmp_path / "val.json"
    assert capsys.readouterr().err == (
        "error: --train_annotations_file and --val_annotations_file: their categories differ, and must be the same: "
        f"{train_file} has 3 'dog', which {val_file} lacks; {val_file} has 4 'dog', which {train_file} lacks\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "nothing to convert: give --train_image_dir with --train_annotations_file, or those of val"),
        (("--train_image_dir", ""), "nothing to convert"),
        (("--train_image_dir", "d"), "--train_image_dir d: needs --train_annotations_file too"),
        (("--val_annotations_file", "f"), "--val_annotations_file f: needs --val_image_dir too"),
        (("--testdev_annotations_file", "f"), "--testdev_annotations_file f: needs --test_image_dir too"),
        (("TRAIN", "--val_shards", "1"), "--val_shards 1: needs --val_image_dir and --val_annotations_file"),
        (("TRAIN", "--train_shards", "0"), "--train_shards 0: must be a positive integer"),
        (("TRAIN", "--train_shards", "7"), "--train_shards 7: must be at most 6, the number of train images"),
        (("TRAIN", "--workers", "0"), "--workers 0: must be a positive integer"),
    ],
)
def test_wrong_usage_is_a_sentence_and_status_2_and_writes_nothing(tmp_path, capsys, flags, message):
    train = tiny_split(tmp_path)
    arguments = [part for flag in flags for part in (train if flag == "TRAIN" else [flag])]
    assert convert(tmp_path / "out", *arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags", [["--include_masks", "maybe"], ["--train"], ["--seed", "1"], ["--workers", "x"]])
def test_the_parser_refuses_with_status_2(flags, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        convert(tmp_path / "out", *flags)
    assert end.value.code == 2


def test_the_output_folder_must_be_named(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--train_image_dir", "d", "--train_annotations_file", "f"])
    assert end.value.code == 2
    assert "--output_dir" in capsys.readouterr().err


def test_a_missing_image_folder_is_a_sentence(tmp_path, capsys):
    flags = tiny_split(tmp_path)
    flags[1] = str(tmp_path / "absent")
    assert convert(tmp_path / "out", *flags) == 1
    assert f"error: --train_image_dir {flags[1]}: no such folder; it must hold the images" in capsys.readouterr().err
    flags[1] = str(tmp_path / "train.json")
    assert convert(tmp_path / "out", *flags) == 1
    assert "is a file, not a folder" in capsys.readouterr().err


def test_the_output_may_not_lie_among_the_images(tmp_path, capsys):
    assert convert(tmp_path / "train" / "out", *tiny_split(tmp_path)) == 2
    assert "which images are read from; write to a folder outside it" in capsys.readouterr().err


def test_images_may_lie_in_folders_and_have_names_that_are_not_ascii(tmp_path):
    coco = content([image(1, "b/ä ö.jpg")], [annotation(1, 1, [0, 0, 1, 1])])
    assert convert(tmp_path / "out", *write_split(tmp_path, "train", coco, {"b/ä ö.jpg": jpeg()})) == 0
    (example,) = examples(tmp_path / "out", "train")
    assert value(example, "image/filename") == os.fsencode("b/ä ö.jpg")
