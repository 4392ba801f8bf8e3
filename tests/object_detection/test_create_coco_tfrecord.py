import hashlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from object_detection.create_coco_tfrecord import main
from object_detection.label_map import read_label_map
from tests.object_detection.tiny_coco import CATEGORIES, annotation, content, image, tiny_split, write_split
from tests.utils.conversion.converting import ROOT, count_written, files, value, values
from tests.utils.tiny_images import encoded, jpeg, pattern
from utils.manifest import load_pattern, load_split, read_manifest

pytestmark = pytest.mark.usefixtures("listening")

OBJECT = "image/object/"


@pytest.fixture
def listening(caplog):
    caplog.set_level("INFO")


def convert(out, *flags, workers=1):
    """Runs the command in this process and returns its exit status."""
    return main(["--output_dir", str(out), "--workers", str(workers), *flags])


def examples(out, split):
    """Every record of a split, in reading order."""
    paths = load_split(out, split).paths
    return [tf.train.Example.FromString(data) for data in tf.data.TFRecordDataset(paths).as_numpy_iterator()]


def boxes(example):
    """``[G, 4]`` boxes of a record."""
    return np.array([values(example, f"{OBJECT}bbox/{edge}") or [] for edge in ("ymin", "xmin", "ymax", "xmax")]).T


def one_image(tmp_path, annotations, picture=None, entry=None, flags=(), name="a.jpg"):
    """Converts one picture and returns its record."""
    coco = content([entry or image(1, name)], annotations)
    assert convert(tmp_path / "out", *write_split(tmp_path, "train", coco, {name: picture or jpeg()}), *flags) == 0
    (example,) = examples(tmp_path / "out", "train")
    return example


def test_help_loads_neither_tensorflow_nor_numpy_and_names_every_flag():
    script = (
        "import sys\nfrom object_detection.create_coco_tfrecord import main\n"
        "try:\n    main(['--help'])\nfinally:\n"
        "    assert not {'tensorflow', 'numpy', 'PIL'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for flag in (
        *("--train_image_dir", "--val_image_dir", "--test_image_dir", "--train_annotations_file"),
        *("--val_annotations_file", "--testdev_annotations_file", "--output_dir", "--include_masks", "--train_shards"),
        *("--val_shards", "--testdev_shards", "--workers", "--skip_unreadable", "--overwrite", "--logtostderr"),
        "Exit status",
    ):
        assert flag in done.stdout


def test_converting_never_loads_tensorflow(tmp_path):
    script = (
        "import sys\nfrom object_detection.create_coco_tfrecord import main\n"
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


def test_a_record_has_the_agreed_features(tmp_path):
    picture = encoded(pattern(256, 256), "JPEG")
    example = one_image(
        tmp_path,
        [annotation(5, 11, [64, 64, 128, 128], area=100), annotation(6, 11, [0, 0, 256, 64], 3) | {"iscrowd": 1}],
        picture,
        image(11, "a.jpg", 256, 256),
    )
    read = {key: values(example, key) for key in example.features.feature}
    assert read == {
        "image/height": [256],
        "image/width": [256],
        "image/filename": [b"a.jpg"],
        "image/source_id": [b"11"],
        "image/key/sha256": [hashlib.sha256(picture).hexdigest().encode()],
        "image/encoded": [picture],
        "image/format": [b"jpeg"],
        "image/object/bbox/ymin": [0.25, 0.0],
        "image/object/bbox/xmin": [0.25, 0.0],
        "image/object/bbox/ymax": [0.75, 0.25],
        "image/object/bbox/xmax": [0.75, 1.0],
        "image/object/class/text": [b"cat", b"dog"],
        "image/object/class/label": [1, 3],
        "image/object/is_crowd": [0, 1],
        "image/object/area": [100.0, 256.0 * 64.0],
    }
    kinds = {key: example.features.feature[key].WhichOneof("kind") for key in read}
    assert {kinds[f"{OBJECT}{key}"] for key in ("area", "bbox/xmin")} == {"float_list"}
    assert {kinds[f"{OBJECT}{key}"] for key in ("is_crowd", "class/label")} == {"int64_list"}
    assert kinds[f"{OBJECT}class/text"] == "bytes_list"


def test_an_image_without_objects_is_kept_and_reads_as_empty_lists(tmp_path):
    example = one_image(tmp_path, [])
    assert not [key for key in example.features.feature if key.startswith(OBJECT)]
    lists = {
        f"{OBJECT}class/text": tf.io.VarLenFeature(tf.string),
        f"{OBJECT}class/label": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
        f"{OBJECT}area": tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True),
    }
    parsed = tf.io.parse_single_example(example.SerializeToString(), lists)
    assert [tuple(parsed[key].shape) for key in lists] == [(0,)] * 3


def test_image_i_goes_to_shard_i_modulo_their_number_in_the_files_order(tmp_path):
    flags = tiny_split(tmp_path, count=7)
    assert convert(tmp_path / "out", *flags, "--train_shards", "3") == 0
    names = [f"coco_train.record-0000{index}-of-00003" for index in range(3)]
    assert [shard.file for shard in read_manifest(tmp_path / "out").splits["train"].shards] == names
    ids = [int(value(example, "image/source_id")) for example in examples(tmp_path / "out", "train")]
    assert ids == [100, 103, 106, 101, 104, 102, 105]


@pytest.mark.slow
def test_the_sample_data_converts_and_reads_back_as_the_annotations_say(sample_data, tmp_path):
    source = sample_data / "bccd"
    flags = [
        *("--train_image_dir", source / "images" / "train"),
        *("--train_annotations_file", source / "annotations" / "instances_train.json"),
        *("--val_image_dir", source / "images" / "val"),
        *("--val_annotations_file", source / "annotations" / "instances_val.json"),
        *("--train_shards", "4"),
    ]
    assert convert(tmp_path / "out", *map(str, flags), workers=2) == 0
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.task, manifest.class_names) == ("detection", ("Platelets", "RBC", "WBC"))
    assert (manifest.category_ids, manifest.head_size, manifest.label_offset) == ((1, 2, 3), 4, 0)
    assert {name: split.examples for name, split in manifest.splits.items()} == {"train": 292, "validation": 72}
    for split, name in (("train", "instances_train"), ("validation", "instances_val")):
        coco = json.loads((source / "annotations" / f"{name}.json").read_text())
        by_image = {entry["id"]: [] for entry in coco["images"]}
        for one in coco["annotations"]:
            by_image[one["image_id"]].append(one)
        records = {int(value(example, "image/source_id")): example for example in examples(tmp_path / "out", split)}
        assert records.keys() == by_image.keys()
        for entry in coco["images"]:
            _compare(
                records[entry["id"]], entry, by_image[entry["id"]], source / "images" / split[:5].removesuffix("id")
            )


def _compare(example, entry, annotations, folder):
    assert value(example, "image/encoded") == (folder / entry["file_name"]).read_bytes()
    assert values(example, f"{OBJECT}class/label") == [one["category_id"] for one in annotations]
    assert values(example, f"{OBJECT}area") == [np.float32(one["area"]) for one in annotations]
    x, y, width, height = np.array([one["bbox"] for one in annotations], np.float64).T
    expected = np.stack([y / 480, x / 640, (y + height) / 480, (x + width) / 640], axis=1)
    np.testing.assert_array_equal(boxes(example), expected.astype(np.float32))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_and_masks_turn_with_the_image(tmp_path, orientation):
    # A white rectangle on black: the box and the mask must lie on it however the picture is turned.
    pixels = np.zeros((48, 80, 3), np.uint8)
    pixels[8:24, 16:56] = 255
    exif = {"exif": _exif(orientation)}
    example = one_image(
        tmp_path,
        [annotation(1, 1, [16, 8, 40, 16], segmentation=[[16, 8, 56, 8, 56, 24, 16, 24]])],
        encoded(pixels, "JPEG", quality=100, **exif),
        image(1, "a.jpg", 80, 48),
        ["--include_masks"],
    )
    upright = tf.io.decode_jpeg(value(example, "image/encoded"), channels=3).numpy()[..., 0] > 128
    assert upright.shape == (value(example, "image/height"), value(example, "image/width"))
    rows, columns = np.flatnonzero(upright.any(axis=1)), np.flatnonzero(upright.any(axis=0))
    height, width = upright.shape
    bright = [[rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width]]
    np.testing.assert_allclose(boxes(example), bright, atol=1e-6)
    mask = tf.io.decode_png(value(example, f"{OBJECT}mask")).numpy()[..., 0]
    np.testing.assert_array_equal(mask, upright)


def _exif(orientation):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_boxes_that_were_drawn_on_the_upright_picture_are_not_turned(tmp_path, caplog):
    # Orientation 6 turns 36x24 pixels to 24x36, and the annotation file says 24x36: its author saw it upright.
    example = one_image(
        tmp_path, [annotation(1, 1, [6, 9, 12, 18])], jpeg(orientation=6), image(1, "a.jpg", width=24, height=36)
    )
    assert (value(example, "image/height"), value(example, "image/width")) == (36, 24)
    np.testing.assert_array_equal(boxes(example), [[0.25, 0.25, 0.75, 0.75]])
    assert "not of the size" not in caplog.text


def test_the_size_of_the_picture_counts_and_a_wrong_one_is_told(tmp_path, caplog):
    example = one_image(tmp_path, [annotation(1, 1, [9, 6, 18, 12])], entry=image(1, "a.jpg", width=360, height=240))
    np.testing.assert_array_equal(boxes(example), [[0.25, 0.25, 0.75, 0.75]])
    assert (
        "1 image not of the size that the annotations say, the file's own was used: train/a.jpg (36x24, not 360x240)"
        in caplog.text
    )


def test_useless_boxes_are_left_out_counted_and_named_and_others_cut(tmp_path, caplog):
    nan, infinite = float("nan"), float("inf")
    bad = [[0, 0, 0, 5], [0, 0, 5, -1], [nan, 0, 1, 1], [0, 0, infinite, 1], [36, 0, 5, 5], [-9, -9, 9, 9]]
    good = [[-9, -6, 18, 12], [27, 18, 18, 12], [0, 0, 36.0001, 24]]
    annotations = [annotation(number, 1, box) for number, box in enumerate([*bad, *good])]
    example = one_image(tmp_path, annotations)
    np.testing.assert_array_equal(boxes(example), [[0, 0, 0.25, 0.25], [0.75, 0.75, 1, 1], [0, 0, 1, 1]])
    assert values(example, f"{OBJECT}area") == [9.0 * 6, 9.0 * 6, 36.0 * 24], "of what is left of them"
    sentences = [record.message for record in caplog.records if record.levelname == "WARNING"]
    place = "train/a.jpg annotation"
    assert sentences == [
        f"2 boxes without width or height, left out: {place} 0, {place} 1",
        f"2 boxes that are not finite numbers, left out: {place} 2, {place} 3",
        f"2 boxes outside the image, left out: {place} 4, {place} 5",
        f"2 boxes past the edge of the image, cut to it: {place} 6, {place} 7",
    ]
    caplog.clear()
    arguments = ["--train_image_dir", str(tmp_path / "train"), "--train_annotations_file", str(tmp_path / "train.json")]
    assert convert(tmp_path / "out", *arguments) == 0
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == sentences, "told again"


def test_the_first_few_are_named_and_the_rest_counted_over_all_shards(tmp_path, caplog):
    images = [image(index, f"{index}.jpg") for index in range(4)]
    flat = [annotation(2 * index + number, index, [1, 1, 1, 0]) for index in range(4) for number in range(2)]
    pictures = {f"{index}.jpg": jpeg(index) for index in range(4)}
    flags = write_split(tmp_path, "train", content(images, flat), pictures)
    assert convert(tmp_path / "out", *flags, "--train_shards", "2", workers=2) == 0
    named = ", ".join(
        f"train/{index}.jpg annotation {number}" for index, number in ((0, 0), (0, 1), (2, 4), (2, 5), (1, 2))
    )
    assert f"8 boxes without width or height, left out: {named} and 3 more" in caplog.text


def test_areas_that_are_none_are_taken_from_the_box(tmp_path):
    areas = [7.5, None, float("nan"), -1, 0]
    example = one_image(tmp_path, [annotation(number, 1, [0, 0, 4, 3], area=area) for number, area in enumerate(areas)])
    assert values(example, f"{OBJECT}area") == pytest.approx([7.5, 12, 12, 12, 0])


def test_masks_of_polygons_and_run_lengths_are_stored_beside_their_boxes(tmp_path):
    # Run lengths go down the columns: 24 rows, so 24 zeros are the first column, then 24 ones the second.
    column = {"counts": [24, 24, 24 * 34], "size": [24, 36]}
    outlines = [
        (annotation(1, 1, [0, 0, 0, 1], segmentation=column), None),
        (annotation(2, 1, [1, 0, 1, 24], segmentation=column), (slice(None), slice(1, 2))),
        (annotation(3, 1, [0, 0, 4, 6], segmentation=[[0, 0, 4, 0, 4, 6, 0, 6]]), (slice(0, 6), slice(0, 4))),
        (
            annotation(4, 1, [1, 0, 1, 9], segmentation={"counts": [30, 9, 30 * 40 - 39], "size": [30, 40]}),
            (slice(0, 9), slice(1, 2)),
        ),
    ]
    example = one_image(tmp_path, [one for one, _ in outlines], flags=["--include_masks=true"])
    masks = values(example, f"{OBJECT}mask")
    assert len(masks) == len(boxes(example)) == 3, "the first has no area, so its mask goes too"
    for data, (_, place) in zip(masks, outlines[1:], strict=True):
        expected = np.zeros((24, 36, 1), np.uint8)
        expected[place] = 1
        np.testing.assert_array_equal(tf.io.decode_png(data).numpy(), expected)


def test_packed_run_lengths_are_masks_too(tmp_path):
    from pycocotools import mask

    drawn = np.zeros((24, 36), np.uint8)
    drawn[3:9, 5:20] = 1
    packed = mask.encode(np.asfortranarray(drawn))
    segmentation = {"size": packed["size"], "counts": packed["counts"].decode()}
    example = one_image(
        tmp_path, [annotation(1, 1, [5, 3, 15, 6], segmentation=segmentation)], flags=["--include_masks"]
    )
    np.testing.assert_array_equal(tf.io.decode_png(value(example, f"{OBJECT}mask")).numpy()[..., 0], drawn)


@pytest.mark.parametrize("outline", [[[1, 2]], [["a", "b", "c", "d", "e", "f"]], {"counts": [1]}, {"size": [2, 2]}])
def test_an_outline_that_cannot_be_drawn_names_its_annotation(tmp_path, capsys, outline):
    coco = content([image(1, "a.jpg")], [annotation(9, 1, [0, 0, 4, 6], segmentation=outline)])
    flags = write_split(tmp_path, "train", coco, {"a.jpg": jpeg()})
    assert convert(tmp_path / "out", *flags, "--include_masks") == 1
    error = capsys.readouterr().err
    assert "error: train/a.jpg: annotation 9: its segmentation is neither polygons nor run lengths" in error
    assert convert(tmp_path / "out", *flags, "--include_masks=false") == 0


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


@pytest.mark.slow
def test_two_runs_write_the_same_bytes_with_any_number_of_workers(tmp_path):
    flags = [*tiny_split(tmp_path), "--train_shards", "3"]
    assert convert(tmp_path / "one", *flags) == 0
    assert convert(tmp_path / "two", *flags, workers=2) == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_second_run_writes_nothing_and_a_lost_file_alone_is_written_again(tmp_path, monkeypatch, caplog):
    flags, out = [*tiny_split(tmp_path), "--train_shards", "3"], tmp_path / "out"
    assert convert(out, *flags) == 0
    complete = files(out)
    written = count_written(monkeypatch)
    assert convert(out, *flags) == 0
    assert written == []
    assert "3 of 3 shards are complete and unchanged since an earlier run" in caplog.text
    (out / "label_map.pbtxt").unlink()
    (out / "coco_train.record-00001-of-00003").write_bytes(b"short")
    assert convert(out, *flags) == 0
    assert (len(written), files(out)) == (2, complete)


def test_changed_annotations_are_converted_anew_and_leave_nothing_of_the_earlier_files(tmp_path):
    flags, out = tiny_split(tmp_path), tmp_path / "out"
    assert convert(out, *flags, "--train_shards", "3") == 0
    first = read_manifest(out)
    coco = json.loads((tmp_path / "train.json").read_text())
    coco["annotations"][0]["category_id"] = 3
    (tmp_path / "train.json").write_text(json.dumps(coco))
    assert convert(out, *flags, "--train_shards", "2") == 0
    assert sorted(files(out)) == [
        *("coco_train.record-00000-of-00002", "coco_train.record-00001-of-00002", "dataset.json", "label_map.pbtxt")
    ]
    assert read_manifest(out).source_sha256 != first.source_sha256
    assert convert(tmp_path / "fresh", *flags, "--train_shards", "2") == 0
    assert files(out) == files(tmp_path / "fresh")


def test_a_split_can_be_added_but_another_data_set_is_refused(tmp_path, capsys, monkeypatch):
    train, out = tiny_split(tmp_path), tmp_path / "out"
    assert convert(out, *train) == 0
    written = count_written(monkeypatch)
    assert convert(out, *train, *tiny_split(tmp_path, "val", 3)) == 0
    assert len(written) == 3, "the training split was kept"
    other = tiny_split(tmp_path / "other")
    before = files(out)
    assert convert(out, *other) == 2
    assert f"{out}: already holds a data set converted from {tmp_path / 'train.json'}" in capsys.readouterr().err
    assert convert(out, *train) == 2, "which would take away the validation split"
    assert files(out) == before
    assert convert(out, *other, "--overwrite") == 0
    assert sorted(files(out)) == ["coco_train.record-00000-of-00001", "dataset.json", "label_map.pbtxt"]


@pytest.mark.parametrize("name", ["label_map.pbtxt", "coco_val.record-00003-of-00010", "train-00000-of-00001"])
def test_files_of_unknown_origin_are_kept_unless_told_to_overwrite(tmp_path, capsys, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(b"precious")
    flags = tiny_split(tmp_path)
    assert convert(out, *flags) == 2
    assert f"not written by this converter (1 file, {name} first)" in capsys.readouterr().err
    assert files(out) == {name: b"precious"}
    assert convert(out, *flags, "--overwrite") == 0
    assert files(out).get(name) != b"precious"


@pytest.mark.parametrize("number", ["SIGKILL", pytest.param("SIGTERM", marks=pytest.mark.slow), "SIGINT"])
def test_a_conversion_stopped_in_the_middle_continues_where_it_was(tmp_path, number, monkeypatch):
    flags, out = [*tiny_split(tmp_path), "--train_shards", "3"], tmp_path / "out"
    script = (
        "import os, signal, sys\nimport utils.conversion.record_writer as writer\n"
        "from object_detection.create_coco_tfrecord import main\n"
        "real, calls = writer.encode_example, []\n"
        "def encode(features):\n    calls.append(1)\n"
        f"    if len(calls) == 4: os.kill(os.getpid(), signal.{number})\n    return real(features)\n"
        "writer.encode_example = encode\nsys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "--output_dir", out, "--workers", "1", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == (-signal.SIGKILL if number == "SIGKILL" else 75), done.stderr
    assert sorted(files(out).keys() - {".coco_train.record-00001-of-00003.tmp"}) == ["coco_train.record-00000-of-00003"]
    written = count_written(monkeypatch)
    assert convert(out, *flags) == 0
    assert len(written) == 4
    assert convert(tmp_path / "fresh", *flags) == 0
    assert files(out) == files(tmp_path / "fresh")


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
    flags = write_split(tmp_path, "train", content([image(1, "a.jpg")], []), {"a.jpg": b"nothing"})
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
