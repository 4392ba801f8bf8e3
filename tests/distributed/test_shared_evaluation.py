"""Several processes evaluate and predict as one does: every example once, the same figures."""

import json

import pytest

from tests.distributed.launching import launched, summary
from tests.runtime.runs import network, picture, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def classifier(pictures, tmp_path_factory):
    """The folder of a trained network."""
    folder = tmp_path_factory.mktemp("classifier")
    length = ("--num_iter=6", "--iter_unit=batch", "--batch_size=4", "--seed=3", "--lr_warmup_epochs=0")
    result = run(*network(pictures, folder, "train"), *length)
    assert result.status == 0, result.error
    return folder


def test_accuracy_and_loss_are_exactly_those_of_one_process(classifier, pictures, tmp_path):
    given = (*network(pictures, tmp_path / "one", "evaluate"), f"--model_dir={classifier}", "--batch_size=3")
    alone = run(*given)
    flags = (*network(pictures, tmp_path / "all", "evaluate"), f"--model_dir={classifier}", "--batch_size=3")
    ended = launched(3, tmp_path, *flags)
    assert ended.status == 0, ended.text
    found = summary(tmp_path / "all" / "log.json")
    for name in ("top1_accuracy", "top5_accuracy", "loss", "images"):
        assert found[name] == alone.summary[name], name
    assert found["images"] == 13
    assert ended.text.count("Evaluation finished.") == 1


def test_files_are_predicted_once_each_and_listed_in_order(classifier, tmp_path):
    (tmp_path / "files").mkdir()
    for number in range(5):
        (tmp_path / "files" / f"{number}.jpg").write_bytes(picture(number))
    (tmp_path / "files" / "broken.jpg").write_bytes(b"no image")
    flags = (f"--model_dir={classifier}", "--mode=predict", f"--to_predict={tmp_path / 'files'}", "--arch=resnet50")
    alone = run(*flags, f"--results_dir={tmp_path / 'one'}", "--batch_size=2")
    ended = launched(2, tmp_path, *flags, f"--results_dir={tmp_path / 'two'}", "--batch_size=2")
    assert ended.status != 0
    assert alone.status == 3
    ours, theirs = (json.loads((tmp_path / name / "predictions.json").read_text()) for name in ("one", "two"))
    assert [row["file"] for row in theirs] == [row["file"] for row in ours]
    for one, other in zip(ours, theirs, strict=True):
        assert one.get("error") == other.get("error")
        classes = [[entry["class"] for entry in row.get("predictions", ())] for row in (one, other)]
        assert classes[0] == classes[1]


def test_more_processes_than_files_are_no_harm(classifier, tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture(0))
    flags = (f"--model_dir={classifier}", "--mode=predict", f"--to_predict={tmp_path / 'a.jpg'}", "--arch=resnet50")
    ended = launched(2, tmp_path, *flags, f"--results_dir={tmp_path / 'two'}")
    assert ended.status == 0, ended.text
    assert len(json.loads((tmp_path / "two" / "predictions.json").read_text())) == 1


def test_a_detectors_metrics_are_those_of_one_process(scenes, tmp_path):
    shared = ("--arch=ssd320", f"--data_dir={scenes}", "--image_size=64", "--batch_size=2")
    length = ("--num_iter=10", "--iter_unit=batch", "--seed=3", "--batch_norm_decay=0.5")
    trained = run(*shared, *length, "--mode=train", f"--results_dir={tmp_path / 'run'}")
    assert trained.status == 0, trained.error
    flags = (*shared, "--mode=evaluate", f"--model_dir={tmp_path / 'run'}")
    alone = run(*flags, f"--results_dir={tmp_path / 'one'}")
    ended = launched(2, tmp_path, *flags, f"--results_dir={tmp_path / 'two'}")
    assert ended.status == 0, ended.text
    found = summary(tmp_path / "two" / "log.json")
    metrics = [name for name in alone.summary if "/" in name]
    assert len(metrics) >= 12
    assert {name: found[name] for name in metrics} == pytest.approx({n: alone.summary[n] for n in metrics}, abs=1e-12)
    ours, theirs = (json.loads((tmp_path / name / "detections.json").read_text()) for name in ("one", "two"))
    assert sorted(row["image_id"] for row in ours) == sorted(row["image_id"] for row in theirs)
