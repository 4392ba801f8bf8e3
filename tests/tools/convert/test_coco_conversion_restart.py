"""A conversion that is repeated, interrupted, or finds foreign files in its folder."""

import json
import signal
import subprocess
import sys

import pytest

from tests.object_detection.tiny_coco import tiny_split
from tests.tools.convert.coco_conversion import convert
from tests.tools.convert.converting import ROOT, count_written, files
from utils.records.manifest import read_manifest

pytestmark = pytest.mark.usefixtures("listening")


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
        "import os, signal, sys\nimport tools.convert.shard_writer as writer\n"
        "from tools.convert.coco_command import main\n"
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
