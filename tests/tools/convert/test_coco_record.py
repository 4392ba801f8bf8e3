"""The content of a record, and its shard."""

import hashlib
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.object_detection.tiny_coco import annotation, content, image, tiny_split, write_split
from tests.tools.convert.coco_conversion import OBJECT, boxes, convert, examples, one_image
from tests.tools.convert.converting import value, values
from tests.utils.tiny_images import encoded, jpeg, pattern
from utils.records.manifest import read_manifest


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
    coco = content([image(1, "a.jpg"), image(2, "b.jpg")], [annotation(1, 2, [4, 4, 8, 8])])
    assert convert(tmp_path / "out", *write_split(tmp_path, "train", coco, {"a.jpg": jpeg(), "b.jpg": jpeg(1)})) == 0
    example = examples(tmp_path / "out", "train")[0]
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
