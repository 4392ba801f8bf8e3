"""The command that checks data sets: its flags, its exit status, its speed, and that it changes no source."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tools.validate.validating import kinds, validate
from tests.utils.tiny_images import two_classes
from tools.validate.__main__ import main

ROOT = Path(__file__).resolve().parents[3]


def test_checking_never_loads_tensorflow(source, tmp_path):
    script = (
        "import sys\nfrom tools.validate.__main__ import main\n"
        "status = main(sys.argv[1:])\nassert 'tensorflow' not in sys.modules\nsys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, source, "--workers", "1"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "clean: 18 images, no faults" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["gone"], "SRC gone: no such file or folder"),
        (["{source}", "--workers=0"], "--workers 0: must be a positive integer"),
        (["{source}", "--named=-1"], "--named -1: must be 0 or more"),
        (["{source}", "{source}"], "a source is given twice"),
        (["{source}", "--dali=gone"], "--dali gone: no such folder"),
        (["{source}", "--dali={source}"], "no SRC is of a kind that uses this flag"),
        (["{source}", "--label_map=map"], "--label_map map: no SRC is of a kind that uses this flag"),
        (["{source}", "--multi_label"], "--multi_label: no SRC is of a kind that uses this flag"),
        (["{source}", "--box_format=xyxy"], "--box_format xyxy: no SRC is of a kind that uses this flag"),
        (["{source}", "--boxes_are=stored"], "--boxes_are stored: no SRC is of a kind that uses this flag"),
        (["{source}", "--image_dir={source}"], "1 given for 0 JSON files; one per file"),
        (["{source}", "--fix={source}"], "is not empty; name a new folder for the repaired copy"),
        (["{source}", "--fix={source}/train/new"], "the source of the copy; name a folder outside it"),
    ],
)
def test_wrong_usage_is_a_sentence_and_status_2(flags, message, source, capsys):
    assert main([flag.format(source=source) for flag in flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


def test_a_source_that_is_checked_stays_as_it_was(source, tmp_path):
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    assert validate(source, "--fix", tmp_path / "copy", tmp_path=tmp_path)[0] == 0
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


def test_only_so_many_of_a_kind_are_named_and_all_are_in_the_json(source, tmp_path, capsys):
    for number in range(4):
        (source / "train" / "cat" / f"bad{number}.jpg").write_bytes(b"text")
    _, findings = validate(source, "--named=3", tmp_path=tmp_path)
    assert len(findings) == 4
    out = capsys.readouterr().out
    assert out.count("bad") == 3
    assert "  and 1 more" in out


@pytest.mark.slow
def test_the_photographs_are_clean(sample_data, tmp_path):
    status, findings = validate(sample_data / "clothing", tmp_path=tmp_path, workers=2)
    assert (status, findings) == (0, [])
    both = [sample_data / "bccd" / "annotations" / f"instances_{split}.json" for split in ("train", "val")]
    status, findings = validate(*both, tmp_path=tmp_path, workers=2)
    assert status == 0
    assert kinds(findings, "remark") == {"box_similar"}


def test_a_thousand_photographs_take_seconds_of_the_processor(sample_data):
    usage = time.process_time
    started = usage()
    assert main([str(sample_data / "clothing"), "--workers=1"]) == 0
    assert usage() - started < 30  # 15 on 2 processors


def test_a_copy_that_cannot_be_written_is_a_sentence(tmp_path, capsys):
    root = two_classes(tmp_path / "images")
    (tmp_path / "file").write_text("")
    assert main([str(root), "--workers=1", f"--fix={tmp_path / 'file' / 'copy'}"]) == 1
    assert "cannot be written" in capsys.readouterr().err
