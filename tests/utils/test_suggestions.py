"""Suggestions: the nearest name, all of equally near ones, and none where nothing is close."""

import os

import pytest

from utils.config import ARCHITECTURES, MODES
from utils.flags.table import BY_NAME
from utils.suggestions import did_you_mean, hint, nearest, path_hint


@pytest.mark.parametrize(
    ("written", "known", "names"),
    [
        ("bacth_size", BY_NAME, ["batch_size"]),
        ("bach", BY_NAME, ["batch_size"]),  # a prefix, mistyped
        ("Batch-Size", BY_NAME, ["batch_size"]),
        ("epochs", BY_NAME, []),
        ("trian", MODES, ["train"]),
        ("evalaute", MODES, ["evaluate"]),
        ("inference", MODES, ["inference_benchmark"]),
        ("test", MODES, []),
        ("resnet-50", ARCHITECTURES, ["resnet50"]),
        ("resnet", ARCHITECTURES, ["resnet18", "resnet34", "resnet50"]),
        ("resnext50", ARCHITECTURES, ["resnext50-32x4d"]),
        ("vgg", ARCHITECTURES, []),
        ("apm", BY_NAME, ["amp"]),  # two letters changed places
        ("RUM", ["RUN", "OUT"], ["RUN"]),
        ("OTU", ["RUN", "OUT"], ["OUT"]),
        ("ONT", ["RUN", "OUT"], ["OUT"]),
        ("RAM", ["RUN", "OUT"], []),  # two are wrong
        ("OUTER", ["RUN", "OUT"], ["OUT"]),
        ("TUO", ["RUN", "OUT"], []),
        ("ab", ["ac", "ba", "xb"], []),
        ("measure", ["measure.table", "measure.model", "report"], ["measure.table", "measure.model"]),
        ("m", ["measure.table", "measure.model", "report"], []),
        ("", MODES, []),
        ("x", [], []),
    ],
)
def test_the_nearest_names_are_found(written, known, names):
    assert nearest(written, known) == names


def test_the_question_names_one_two_or_three():
    assert did_you_mean([]) == ""
    assert did_you_mean(["a"]) == "did you mean a?"
    assert did_you_mean(["a", "b"]) == "did you mean a or b?"
    assert did_you_mean(["a", "b", "c"]) == "did you mean a, b or c?"
    assert hint("trian", MODES) == "; did you mean train?"
    assert hint("vgg", MODES) == ""


def test_the_nearest_path_is_found(tmp_path, monkeypatch):
    for folder in ("RECORDS", "runs/first"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "RECORDS" / "train.record").touch()
    monkeypatch.chdir(tmp_path)
    assert path_hint("RECORDZ") == "; did you mean RECORDS?"
    assert path_hint(tmp_path / "records") == f"; did you mean {tmp_path}/RECORDS?"
    assert path_hint("RECORDZ/train.record") == "; did you mean RECORDS?"
    assert path_hint("RECORDS/train.recrod") == "; did you mean RECORDS/train.record?"
    assert path_hint("RECORDS/train.recrod", folder=True) == ""
    assert path_hint("runs/fisrt") == "; did you mean runs/first?"
    for path in ("RECORDS", "other", "x" * 300, "/none/of/this"):
        assert path_hint(path) == ""


def test_a_path_that_is_suggested_can_be_shown(tmp_path):
    (tmp_path / "record\ns").mkdir()
    assert path_hint(tmp_path / "records") == f"; did you mean {tmp_path}/record s?"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_gives_no_suggestion(tmp_path):
    (tmp_path / "RECORDS").mkdir()
    tmp_path.chmod(0)
    assert path_hint(tmp_path / "RECORDZ") == ""
    tmp_path.chmod(0o700)
