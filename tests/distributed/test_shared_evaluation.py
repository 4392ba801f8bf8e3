"""Several processes evaluate and predict like one: every example once, the same figures."""

import json

import pytest

from tests.distributed.launching import summary
from tests.runtime.runs import network, picture, run

pytestmark = pytest.mark.slow


def test_accuracy_and_loss_are_exactly_those_of_one_process(four, trained, pictures, tmp_path):
    given = (*network(pictures, tmp_path / "one", "evaluate"), f"--model_dir={trained}", "--batch_size=3")
    alone = run(*given)
    flags = (*network(pictures, tmp_path / "all", "evaluate"), f"--model_dir={trained}", "--batch_size=3")
    ended = four(tmp_path, *flags)
    assert ended.status == 0, ended.text
    found = summary(tmp_path / "all" / "log.json")
    for name in ("top1_accuracy", "top5_accuracy", "loss", "images", "macro_f1", "macro_roc_auc", "intervals"):
        assert found[name] == alone.summary[name], name
    assert found["images"] == 13
    assert ended.text.count("Evaluation finished.") == 1


def test_files_are_predicted_once_each_and_listed_in_order(two, trained, tmp_path):
    (tmp_path / "files").mkdir()
    for number in range(5):
        (tmp_path / "files" / f"{number}.jpg").write_bytes(picture(number))
    (tmp_path / "files" / "broken.jpg").write_bytes(b"no image")
    flags = (f"--model_dir={trained}", "--mode=predict", f"--to_predict={tmp_path / 'files'}", "--arch=resnet50")
    alone = run(*flags, f"--results_dir={tmp_path / 'one'}", "--batch_size=2")
    ended = two(tmp_path, *flags, f"--results_dir={tmp_path / 'two'}", "--batch_size=2")
    assert ended.status != 0
    assert alone.status == 3
    ours, theirs = (json.loads((tmp_path / name / "predictions.json").read_text()) for name in ("one", "two"))
    assert [row["file"] for row in theirs] == [row["file"] for row in ours]
    for one, other in zip(ours, theirs, strict=True):
        assert one.get("error") == other.get("error")
        classes = [[entry["class"] for entry in row.get("predictions", ())] for row in (one, other)]
        assert classes[0] == classes[1]


def test_more_processes_than_files_are_no_harm(two, trained, tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture(0))
    flags = (f"--model_dir={trained}", "--mode=predict", f"--to_predict={tmp_path / 'a.jpg'}", "--arch=resnet50")
    ended = two(tmp_path, *flags, f"--results_dir={tmp_path / 'two'}")
    assert ended.status == 0, ended.text
    assert len(json.loads((tmp_path / "two" / "predictions.json").read_text())) == 1


def test_a_detectors_metrics_are_those_of_one_process(two, scenes, detector, tmp_path):
    flags = ("--arch=ssd320", f"--data_dir={scenes}", "--image_size=64", "--batch_size=2", "--mode=evaluate")
    flags += (f"--model_dir={detector}",)
    alone = run(*flags, f"--results_dir={tmp_path / 'one'}")
    ended = two(tmp_path, *flags, f"--results_dir={tmp_path / 'two'}")
    assert ended.status == 0, ended.text
    found = summary(tmp_path / "two" / "log.json")
    metrics = [name for name in alone.summary if "/" in name]
    assert len(metrics) >= 12
    assert {name: found[name] for name in metrics} == pytest.approx({n: alone.summary[n] for n in metrics}, abs=1e-12)
    assert found["intervals"].keys() == alone.summary["intervals"].keys()
    for name, ends in alone.summary["intervals"].items():
        assert found["intervals"][name] == pytest.approx(ends, abs=1e-12)
    ours, theirs = (json.loads((tmp_path / name / "detections.json").read_text()) for name in ("one", "two"))
    assert sorted(row["image_id"] for row in ours) == sorted(row["image_id"] for row in theirs)
