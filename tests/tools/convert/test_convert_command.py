import io
import os
import subprocess
import sys
import tarfile

import pytest
import tensorflow as tf

import utils.system.worker_pool
from tests.tools.convert.converting import ROOT, convert, count_written, examples, files, value
from tests.utils.tiny_images import encoded, jpeg, pattern, write_files
from tools.convert.__main__ import main
from utils.records.manifest import read_manifest
from utils.records.split_files import load_split

pytestmark = pytest.mark.usefixtures("listening")


def _command(*arguments, **options):
    command = [sys.executable, "-m", "tools.convert", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False, **options)


def test_converting_never_loads_tensorflow(source, tmp_path):
    script = (
        "import sys\nfrom tools.convert.__main__ import main\n"
        "status = main(sys.argv[1:])\nassert 'tensorflow' not in sys.modules\nsys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, source, tmp_path / "out", "--workers", "1"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_without_a_terminal_it_prints_plain_lines(source, tmp_path):
    done = _command(source, tmp_path / "out", "--workers", "2")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"writing 18 images to 2 shards in {tmp_path / 'out'}",
        "train: 12 examples in 1 shard",
        "validation: 6 examples in 1 shard",
        f"2 classes, head size 2; described in {tmp_path / 'out' / 'dataset.json'}",
    ]


def test_on_a_terminal_it_shows_a_bar(source, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert convert(source, tmp_path / "out") == 0
    assert "18/18" in terminal.getvalue()


def test_a_long_conversion_without_a_terminal_tells_of_itself_now_and_then(source, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(utils.system.worker_pool, "_LINE_EVERY_SECONDS", 0.0)
    assert convert(source, tmp_path / "out", "--train_shards", "2") == 0
    lines = [record.message for record in caplog.records if " of 18 images" in record.message]
    assert lines == ["6 of 18 images", "12 of 18 images", "18 of 18 images"]


@pytest.mark.slow
def test_the_photographs_convert_and_tensorflow_decodes_them(sample_data, tmp_path):
    assert convert(sample_data / "clothing", tmp_path / "out", workers=2) == 0
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.class_count, manifest.head_size, manifest.class_names[0]) == (10, 10, "dress")
    assert {split: part.examples for split, part in manifest.splits.items()} == {"train": 1000, "validation": 282}
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64),
    }
    data = tf.data.TFRecordDataset(load_split(tmp_path / "out", "validation").paths)
    data = data.map(lambda record: tf.io.parse_single_example(record, features))
    data = data.map(
        lambda record: (tf.io.decode_jpeg(record["image/encoded"], channels=3), record["image/class/label"])
    )
    counts = dict.fromkeys(range(1, 11), 0)
    for pixels, label in data.as_numpy_iterator():
        assert pixels.shape[2] == 3
        counts[int(label)] += 1
    folders = sorted(path for path in (sample_data / "clothing" / "validation").iterdir() if path.is_dir())
    assert list(counts.values()) == [len(list(folder.iterdir())) for folder in folders]


def test_archives_convert_like_folders(tmp_path):
    inner, outer = io.BytesIO(), io.BytesIO()
    for archive, name, data in ((inner, "n01440764_1.JPEG", jpeg(1)), (outer, "n01440764.tar", None)):
        content = inner.getvalue() if data is None else data
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    write_files(tmp_path / "tar", {"ILSVRC2012_img_train.tar": outer.getvalue()})
    write_files(tmp_path / "folders", {"train/n01440764/n01440764_1.JPEG": jpeg(1)})
    for name in ("tar", "folders"):
        assert convert(tmp_path / name, tmp_path / f"out_{name}") == 0
    assert files(tmp_path / "out_tar") == files(tmp_path / "out_folders")


def _spoil(source):
    write_files(
        source,
        {
            "train/cat/half.jpg": jpeg()[:-60],
            "train/dog/text.png": b"This is no image at all, but it has a good many letters.",
            "validation/dog/empty.jpg": b"",
        },
    )
    (source / "train" / "cat" / "gone.jpg").symlink_to("absent")


_LISTED = [
    "  train/cat/gone.jpg: cannot be read (No such file or directory)",
    "  train/cat/half.jpg: does not decode (image file is truncated",
    "  train/dog/text.png: is not an image of a known kind",
    "  validation/dog/empty.jpg: is empty",
]


def test_unreadable_images_fail_at_the_end_with_every_one_named(source, tmp_path, capsys):
    _spoil(source)
    out = tmp_path / "out"
    assert convert(source, out, "--train_shards", "15", workers=2) == 1
    lines = capsys.readouterr().err.splitlines()
    start = lines.index("error: 4 images cannot be read:")
    for line, expected in zip(lines[start + 1 :], _LISTED, strict=False):
        assert line.startswith(expected)
    # 15 training images in 15 shards, three of them bad, and the one validation shard is bad
    assert lines[start + 5] == (
        "12 of 16 shards are complete and kept; mend or remove these files and run the same command again, or give "
        "--skip_unreadable to leave them out"
    )
    assert len(list(out.glob("train-*"))) == 12
    assert not list(out.glob("validation-*"))
    assert read_manifest(out) is None


def test_skip_unreadable_leaves_them_out_lists_them_and_ends_with_3(source, tmp_path, monkeypatch, caplog):
    _spoil(source)
    out, flags = tmp_path / "out", ("--train_shards", "5")
    assert convert(source, out, *flags) == 1
    complete = len(list(out.glob("[tv]*-of-*")))
    written = count_written(monkeypatch)
    assert convert(source, out, *flags, "--skip_unreadable") == 3
    assert len(written) < 18, "shards without a bad image were kept"
    assert complete > 0
    assert "left out 4 images that cannot be read:" in caplog.text
    assert all(line in caplog.text for line in _LISTED)
    assert {split: part.examples for split, part in read_manifest(out).splits.items()} == {"train": 12, "validation": 6}
    assert len(examples(out, "train")) == 12
    caplog.clear()
    written.clear()
    assert convert(source, out, *flags, "--skip_unreadable") == 3, "and again, though there is nothing left to do"
    assert written == []
    assert all(line in caplog.text for line in _LISTED)


def test_skipped_images_do_not_pass_without_the_flag(source, tmp_path):
    _spoil(source)
    assert convert(source, tmp_path / "out", "--skip_unreadable") == 3
    assert convert(source, tmp_path / "out") == 1
    assert read_manifest(tmp_path / "out") is None


def test_mended_images_complete_the_conversion(source, tmp_path):
    path = source / "train" / "cat" / "cat0.jpg"
    good = path.read_bytes()
    path.write_bytes(good[:100])
    assert convert(source, tmp_path / "out") == 1
    path.write_bytes(good)
    assert convert(source, tmp_path / "out") == 0
    assert len(examples(tmp_path / "out", "train")) == 12


def test_a_split_of_unreadable_images_alone_fails(tmp_path, capsys):
    source = write_files(tmp_path / "source", {"train/cat/a.jpg": jpeg(), "validation/cat/b.jpg": b"nothing"})
    assert convert(source, tmp_path / "out", "--skip_unreadable") == 1
    assert "none of its validation images can be read" in capsys.readouterr().err


def test_a_hundred_are_listed_and_the_rest_counted(tmp_path, capsys):
    bad = {f"train/cat/{index:03d}.jpg": b"nothing" for index in range(103)}
    source = write_files(tmp_path / "source", {**bad, "train/cat/good.jpg": jpeg()})
    assert convert(source, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "103 images cannot be read:" in error
    assert "train/cat/099.jpg" in error
    assert "train/cat/100.jpg" not in error
    assert "  and 3 more" in error


def test_file_names_that_are_not_text_are_converted(tmp_path):
    source = write_files(tmp_path / "source", {"train/cat/a.png": encoded(pattern())})
    os.rename(source / "train/cat/a.png", os.fsencode(source) + b"/train/cat/\xe9\n.png")  # noqa: PTH104
    assert convert(source, tmp_path / "out") == 0
    (example,) = examples(tmp_path / "out", "train")
    assert value(example, "image/filename") == b"\xe9\n.png"
    assert convert(source, tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--train_shards", "0"), "--train_shards 0: must be a positive integer"),
        (("--validation_shards", "-1"), "--validation_shards -1: must be a positive integer"),
        (("--workers", "0"), "--workers 0: must be a positive integer"),
        (("--head_size", "0"), "--head_size 0: must be a positive integer"),
        (("--head_size", "1"), "--head_size 1: must be at least 2, the number of classes in the data"),
        (("--train_shards", "13"), "--train_shards 13: must be at most 12, the number of train images"),
        (("--validation_shards", "7"), "--validation_shards 7: must be at most 6, the number of validation images"),
        (("--validation_fraction", "0.2"), "already has validation images"),
        (("--validation_labels", "labels.txt"), "has class folders, which give the labels"),
    ],
)
def test_wrong_usage_is_a_sentence_and_status_2_and_writes_nothing(source, tmp_path, capsys, flags, message):
    assert convert(source, tmp_path / "out", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--class_names", "absent.txt"), "--class_names absent.txt: cannot be read"),
        (("--bounding_boxes", "absent"), "--bounding_boxes absent: no such file or folder"),
    ],
)
def test_a_missing_file_is_a_sentence_and_status_1_as_missing_images_are(source, tmp_path, capsys, flags, message):
    assert convert(source, tmp_path / "out", *flags) == 1
    assert f"error: {message}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [[], ["only_source"], ["a", "b", "--train_shards", "x"], ["a", "b", "--train"]])
def test_the_parser_refuses_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2


def test_a_source_that_is_no_data_set_is_a_sentence_and_status_1(tmp_path, capsys):
    assert convert(tmp_path / "absent", tmp_path / "out") == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'absent'}: no such folder to convert from\n"
    assert not (tmp_path / "out").exists()
