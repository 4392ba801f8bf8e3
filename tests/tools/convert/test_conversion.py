import hashlib

import pytest
import tensorflow as tf

from tests.tools.convert.converting import convert, examples, files, value, values
from tests.utils.tiny_images import encoded, jpeg, pattern, write_files
from tools.convert.classification_plan import default_shards
from utils.images.image_files import load_rgb
from utils.records.manifest import read_manifest
from utils.records.split_files import load_split
from utils.records.tfrecord_file import count_records, find_bad_record, read_record


def test_every_image_becomes_one_record_with_the_agreed_features(source, tmp_path):
    out = tmp_path / "out"
    assert convert(source, out) == 0
    seen = {}
    for example in examples(out, "train"):
        name = value(example, "image/filename").decode()
        folder = name[:3]
        data = (source / "train" / folder / name).read_bytes()
        seen[name] = {
            "image/height": 24,
            "image/width": 36,
            "image/colorspace": b"RGB",
            "image/channels": 3,
            "image/class/label": {"cat": 1, "dog": 2}[folder],
            "image/class/synset": folder.encode(),
            "image/class/text": folder.encode(),
            "image/format": b"JPEG",
            "image/filename": name.encode(),
            "image/encoded": data,
        }
        assert {key: value(example, key) for key in example.features.feature} == seen[name]
    assert sorted(seen) == sorted(f"{name}{index}.jpg" for name in ("cat", "dog") for index in range(6))


def test_records_are_shuffled_by_the_seed(source, tmp_path):
    orders = []
    for seed in ("12345", "12345", "1"):
        assert convert(source, tmp_path / f"out{len(orders)}", "--seed", seed) == 0
        orders.append(
            [value(example, "image/filename") for example in examples(tmp_path / f"out{len(orders)}", "train")]
        )
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])
    assert sorted(orders[0]) == sorted(orders[2])


def test_images_of_every_kind_are_stored_as_upright_rgb(tmp_path):
    images = {
        "grey.jpg": encoded(pattern()[..., 0], "JPEG"),
        "rotated.jpg": jpeg(orientation=6),
        "palette.gif": encoded(pattern(), "GIF"),
        "sixteen.png": tf.io.encode_png(tf.cast(pattern(), tf.uint16) * 257).numpy(),
        "disguised.jpeg": encoded(pattern()),
    }
    source = write_files(tmp_path / "source", {f"train/x/{name}": data for name, data in images.items()})
    assert convert(source, tmp_path / "out") == 0
    for example in examples(tmp_path / "out", "train"):
        name = value(example, "image/filename").decode()
        expected = load_rgb(images[name])
        assert value(example, "image/encoded") == expected.data
        assert value(example, "image/format").decode() == ("JPEG" if name.endswith(".jpg") else "PNG")
        shape = tf.io.decode_image(value(example, "image/encoded"), channels=3).shape
        assert shape == (value(example, "image/height"), value(example, "image/width"), 3)


def test_boxes_are_written_where_they_are_known_and_turn_with_the_image(tmp_path):
    images = {"n01440764/a.JPEG": jpeg(), "n01440764/b.JPEG": jpeg(1), "n01443537/c.JPEG": jpeg(orientation=3)}
    source = write_files(tmp_path / "source", {f"train/{name}": data for name, data in images.items()})
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("a.JPEG,0.1,0.2,0.5,0.75\na.JPEG,0,0,1,1\nc.JPEG,0,0.25,0.5,1\n")
    assert convert(source, tmp_path / "out", "--bounding_boxes", str(boxes)) == 0
    by_name = {value(example, "image/filename"): example for example in examples(tmp_path / "out", "train")}
    edges = ("ymin", "xmin", "ymax", "xmax", "label")

    def stored(name):
        return {edge: values(by_name[name], f"image/object/bbox/{edge}") for edge in edges}

    first = stored(b"a.JPEG")
    assert first["ymin"] == pytest.approx([0.2, 0.0])
    assert first["xmin"] == pytest.approx([0.1, 0.0])
    assert first["ymax"] == pytest.approx([0.75, 1.0])
    assert first["xmax"] == pytest.approx([0.5, 1.0])
    assert first["label"] == [1, 1]
    assert stored(b"b.JPEG") == dict.fromkeys(edges)
    # orientation 3 is upside down: [0.25, 0, 1, 0.5] becomes [0, 0.5, 0.75, 1]
    assert stored(b"c.JPEG") == {"ymin": [0.0], "xmin": [0.5], "ymax": [0.75], "xmax": [1.0], "label": [2]}


def test_class_names_are_stored_beside_the_folders(source, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("dog\tHund\ncat\tKatze, große\n")
    assert convert(source, tmp_path / "out", "--class_names", str(names)) == 0
    assert read_manifest(tmp_path / "out").class_names == ("Katze, große", "Hund")
    texts = {
        (value(e, "image/class/synset"), value(e, "image/class/text")) for e in examples(tmp_path / "out", "train")
    }
    assert texts == {(b"cat", "Katze, große".encode()), (b"dog", b"Hund")}


def test_tensorflow_finds_every_checksum_right(source, tmp_path):
    assert convert(source, tmp_path / "out", "--train_shards", "3") == 0
    for path in (tmp_path / "out").glob("*-of-*"):
        assert find_bad_record(path) is None
        assert sum(1 for _ in tf.data.TFRecordDataset(str(path))) == count_records(path)


def test_the_manifest_is_true_to_the_files(source, tmp_path):
    out = tmp_path / "out"
    assert convert(source, out, "--train_shards", "5", "--validation_shards", "2") == 0
    manifest = read_manifest(out)
    assert (manifest.class_names, manifest.class_count, manifest.head_size) == (("cat", "dog"), 2, 2)
    assert (manifest.label_offset, manifest.task) == (1, "classification")
    assert {split: part.examples for split, part in manifest.splits.items()} == {"train": 12, "validation": 6}
    assert [shard.examples for shard in manifest.splits["train"].shards] == [2, 2, 3, 2, 3]  # 12 by fifths, cut down
    listed = {shard.file: shard for split in manifest.splits.values() for shard in split.shards}
    assert set(files(out)) == {"dataset.json", *listed}
    assert {f"train-{index:05d}-of-00005" for index in range(5)} <= set(listed)
    for name, shard in listed.items():
        data = (out / name).read_bytes()
        assert (shard.bytes, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert shard.examples == count_records(out / name)


def test_readers_locate_every_record_by_the_manifest(source, tmp_path):
    assert convert(source, tmp_path / "out", "--train_shards", "5") == 0
    split = load_split(tmp_path / "out", "train")
    names = [
        value(tf.train.Example.FromString(read_record(*split.locate(index))), "image/filename") for index in range(12)
    ]
    assert names == [value(example, "image/filename") for example in examples(tmp_path / "out", "train")]


def test_the_source_hash_depends_on_names_and_contents_alone(source, tmp_path):
    def source_hash(flags=()):
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        assert convert(source, out, *flags) == 0
        return read_manifest(out).source_sha256

    first = source_hash()
    assert first == source_hash(("--train_shards", "4", "--seed", "7"))
    paths = list(source.rglob("*.jpg"))
    total = sum(
        int.from_bytes(
            hashlib.sha256(
                str(path.relative_to(source)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest()
            ).digest(),
            "big",
        )
        for path in paths
    )
    assert int(first, 16) == total % 2**256
    paths[0].write_bytes(jpeg(77))
    changed = source_hash()
    assert changed != first
    paths[0].rename(paths[0].with_name("other.jpg"))
    assert source_hash() not in (first, changed)


def test_two_runs_write_the_same_bytes_with_any_number_of_workers(source, tmp_path):
    flags = ("--train_shards", "3", "--validation_shards", "2")
    assert convert(source, tmp_path / "one", *flags) == 0
    assert convert(source, tmp_path / "two", *flags, workers=2) == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_thousand_synsets_get_a_head_of_1001(tmp_path):
    data = encoded(pattern(4, 4))
    source = write_files(tmp_path / "source", {f"train/n{index:08d}/{index}.png": data for index in range(1000)})
    assert convert(source, tmp_path / "out") == 0
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.class_count, manifest.head_size, manifest.class_names[0]) == (1000, 1001, "n00000000")
    labels = [value(example, "image/class/label") for example in examples(tmp_path / "out", "train")]
    assert sorted(labels) == list(range(1, 1001))


@pytest.mark.parametrize(("flag", "head"), [("2", 2), ("7", 7)])
def test_a_head_may_be_larger_than_the_class_count(source, tmp_path, flag, head):
    assert convert(source, tmp_path / "out", "--head_size", flag) == 0
    assert read_manifest(tmp_path / "out").head_size == head


@pytest.mark.parametrize(
    ("images", "split", "classes", "imagenet", "shards"),
    [
        (1_281_167, "train", 1000, True, 1024),
        (50_000, "validation", 1000, True, 128),
        (1_281_167, "train", 1000, False, 1025),  # 1,281,167 / 1,250 = 1024.9
        (13_000, "train", 10, True, 10),
        (1_000, "train", 10, False, 4),
        (282, "validation", 10, False, 1),
        (500, "train", 10, False, 2),
        (1, "train", 1, False, 1),
        (3_000, "train", 1000, True, 4),
    ],
)
def test_default_shard_counts(images, split, classes, imagenet, shards):
    assert default_shards(images, split, classes, imagenet) == shards
