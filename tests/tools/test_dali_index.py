"""The command that writes the index files of a folder of records."""

import subprocess

import pytest

from tests.conftest import ROOT
from tests.utils.records.test_record_index import INDEX, write_records
from tools.dali_index import main
from utils.records.manifest import Manifest, ShardFile, Split, write_manifest


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "records of images"
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"):
        write_records(folder / name)
    (folder / "train-00000-of-00002.idx.txt").write_text("not records")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_record_file_gets_an_index_of_its_name(source, tmp_path, capsys):
    assert main([str(source), str(tmp_path / "new" / "idx")]) == 0
    assert names(tmp_path / "new" / "idx") == [
        "train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001",
    ]  # fmt: skip
    assert {path.read_bytes() for path in (tmp_path / "new" / "idx").iterdir()} == {INDEX}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"1 of 3: {tmp_path}/new/idx/train-00000-of-00002: written"


def test_what_was_interrupted_is_continued(source, tmp_path, capsys):
    assert main([str(source), str(tmp_path / "idx")]) == 0
    (tmp_path / "idx" / "train-00001-of-00002").write_bytes(INDEX[:8])
    capsys.readouterr()
    assert main([str(source), str(tmp_path / "idx")]) == 0
    endings = [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert endings == ["already up to date", "written", "already up to date"]


def test_records_of_detection_are_found_too(tmp_path):
    for name in ("coco_train.record-00000-of-00001", "coco_val.record-00000-of-00001"):
        write_records(tmp_path / "data" / name)
    assert main([str(tmp_path / "data"), str(tmp_path / "idx")]) == 0
    assert names(tmp_path / "idx") == ["coco_train.record-00000-of-00001", "coco_val.record-00000-of-00001"]


def test_a_manifest_says_which_files_are_records(source, tmp_path):
    (source / "train-00001-of-00002").rename(source / "more")
    splits = {"train": Split(shards=(ShardFile(file="more", examples=4),))}
    write_manifest(source, Manifest(class_names=("a",), class_count=1, head_size=1, splits=splits))
    assert main([str(source), str(tmp_path / "idx")]) == 0
    assert names(tmp_path / "idx") == ["more"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none", "none: no such folder; SRC must hold TFRecords"),
        (lambda folder: (folder / "file").write_bytes(b"") or folder / "file", "file: is not a folder; SRC must hold"),
        (lambda folder: (folder / "empty").mkdir() or folder / "empty", "empty: no file is named train-*"),
        (lambda folder: write_records(folder / "b" / "train-0").write_bytes(b"no records") and folder / "b",
         "train-0: record 0 is broken"),
        (lambda folder: write_records(folder / "idx" / "train-0").parent, "DST is SRC"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_a_sentence(tmp_path, capsys, make, message):
    assert main([str(make(tmp_path)), str(tmp_path / "idx")]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")


def test_a_destination_that_cannot_be_made_is_a_sentence(source, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    assert main([str(source), str(tmp_path / "file" / "idx")]) == 1
    assert f"{tmp_path}/file/idx: Not a directory" in capsys.readouterr().err


def test_the_script_works_from_anywhere_on_relative_paths_beside_folders_of_any_name(source, tmp_path, python):
    (tmp_path / "utils").mkdir()  # must not be mistaken for the project's
    (tmp_path / "utils" / "errors.py").write_text("raise SystemExit(9)")
    script = ROOT / "utils" / "dali_index.sh"
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": python}
    done = subprocess.run(
        ["bash", script, source.name, "idx"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(names(tmp_path / "idx")) == 3


def test_a_dry_run_prints_the_command(tmp_path, python):
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": python, "DRY_RUN": "1"}
    done = subprocess.run(
        ["bash", ROOT / "utils" / "dali_index.sh", "SRC", "my index"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip().endswith(r"tools/dali_index.py SRC my\ index")
    assert list(tmp_path.iterdir()) == []
