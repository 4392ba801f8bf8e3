"""The results of runs for people: evaluation details, the report, and findings on the console."""

import base64
import io
import json
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from runtime.classification.evaluation import ClassificationEvaluator
from runtime.reporting.evaluation_details import leave_details
from tests.runtime.runs import CLASSES, network, picture, run, train
from tests.runtime.scenes import picture_of, scene, write_scenes
from utils.reporting import charts
from utils.reporting.evaluation_file import EVALUATION_NAME, read_evaluation


def evaluate(data, folder, model, *more, **options):
    return run(*network(data, folder, "evaluate"), f"--model_dir={model}", "--batch_size=4", *more, **options)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, data_dir, trained):
    folder = tmp_path_factory.mktemp("evaluated")
    return folder, evaluate(data_dir, folder, trained, report=True)


def pixels(encoded):
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"), float)


def test_an_evaluation_leaves_its_details_with_the_metrics_of_the_log(evaluated):
    folder, launch = evaluated
    assert launch.status == 0, launch.error
    content = read_evaluation(folder / EVALUATION_NAME)
    assert content["metrics"] == {key: launch.summary[key] for key in content["metrics"]}
    assert content["weights"] == launch.summary["weights"]
    assert content["step"] == 5
    assert content["class_names"] == list(CLASSES)
    assert sum(row[0] for row in content["classes"]) == 10
    assert sum(row[2] for row in content["classes"]) / 10 == launch.summary["top1_accuracy"]
    assert sum(content["latency_ms"]["counts"]) == 3  # batches


def test_mistakes_come_with_their_own_pictures(evaluated):
    content = read_evaluation(evaluated[0] / EVALUATION_NAME)
    assert len(content["pictures"]) == 10 - sum(row[2] for row in content["classes"]) > 0
    for entry in content["pictures"]:
        assert entry["label"] == entry["index"] % len(CLASSES)
        shown, original = pixels(base64.b64decode(entry["jpeg"])), pixels(picture(entry["index"], "validation"))
        assert shown.shape == original.shape
        assert np.abs(shown.mean((0, 1)) - original.mean((0, 1))).max() < 3


def test_the_report_lies_beside_the_log_and_the_console_ends_as_scripts_expect(evaluated):
    folder, launch = evaluated
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"top-1 accuracy {launch.summary['top1_accuracy']:.4f}" in page
    assert "Confusions" in page
    assert "report" not in launch.error  # neither stream has output after the last line
    *_, summary, last = launch.output.splitlines()
    assert last == "Evaluation finished."
    assert " - () " in summary


def test_evaluating_says_the_result_and_what_stands_out(evaluated):
    error = evaluated[1].error
    assert "INFO: 10 images: top-1 accuracy" in error
    assert "images/s, " in error
    assert "of the time waiting for input" in error


def test_no_report_is_written_where_none_is_wanted(data_dir, tmp_path, trained):
    launch = evaluate(data_dir, tmp_path, trained, "--no_report", report=True)
    assert launch.status == 0
    assert not (tmp_path / "report.html").exists()
    assert (tmp_path / EVALUATION_NAME).exists()
    assert launch.parameters["no_report"] is True


def test_training_leaves_a_report_that_says_what_is_missing(data_dir, tmp_path):
    arguments = (*network(data_dir, tmp_path, "train"), "--batch_size=4", "--num_iter=1", "--display_every=2")
    launch = run(*arguments, report=True)
    assert launch.status == 0, launch.error
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "There was no evaluation" in page
    step, loss = launch.losses[-1]
    assert f"Last logged step: {step}, total loss {loss:.6g}." in page


def test_a_report_that_fails_ends_no_run(data_dir, tmp_path, trained):
    with mock.patch.object(charts, "_svg", side_effect=MemoryError("no room")):
        launch = evaluate(data_dir, tmp_path, trained, report=True)
    assert launch.status == 0
    assert launch.error.count("report.html: the report cannot be written (no room)") == 1
    assert launch.output.endswith("Evaluation finished.\n")


def test_details_that_fail_end_no_run(data_dir, tmp_path, trained):
    with mock.patch.object(ClassificationEvaluator, "details", side_effect=ValueError("odd")):
        launch = evaluate(data_dir, tmp_path, trained)
    assert launch.status == 0
    assert f"{EVALUATION_NAME}: cannot be written (odd); the report will lack" in launch.error
    assert "top1_accuracy" in launch.summary


def test_a_run_that_fails_has_a_report_of_what_it_did(data_dir, tmp_path):
    arguments = (*network(data_dir, tmp_path, "train"), "--batch_size=4", "--num_iter=4", "--display_every=1")
    launch = run(*arguments, "--lr_init=1e30", "--lr_warmup_epochs=0", report=True)
    assert launch.status == 1
    assert "The last launch has no summary" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_benchmarks_leave_neither(data_dir, tmp_path, trained):
    flags = (f"--model_dir={trained}", "--batch_size=4", "--num_iter=3", "--iter_unit=batch", "--warmup_steps=1")
    launch = run(*network(data_dir, tmp_path, "inference_benchmark"), *flags, report=True)
    assert launch.status == 0, launch.error
    assert [path.name for path in tmp_path.iterdir()] == ["log.json"]


@pytest.mark.slow
def test_a_detectors_details_hold_pictures_of_the_scenes_with_their_objects(tmp_path):
    data = write_scenes(tmp_path / "data")
    arguments = ("--arch=ssd320", "--mode=train_and_evaluate", "--image_size=64", "--seed=3", "--num_iter=1")
    launch = run(*arguments, f"--data_dir={data}", "--batch_size=4", f"--results_dir={tmp_path / 'run'}", report=True)
    assert launch.status == 0, launch.error
    content = read_evaluation(tmp_path / "run" / EVALUATION_NAME)
    assert content["metrics"]["Precision/mAP"] == launch.summary["Precision/mAP"]
    assert sum(row["objects"] for row in content["classes"]) == sum(len(scene(n)) for n in range(1000, 1006))
    assert content["pictures"]
    assert content["error_pictures"]
    assert {row["kind"]: row["count"] for row in content["errors"]["kinds"]}["missed"] > 0
    for entry in content["pictures"] + content["error_pictures"]:
        things = scene(1000 + entry["index"])
        original = pixels(picture_of(things, 1000 + entry["index"]))
        assert np.abs(pixels(base64.b64decode(entry["jpeg"])) - original).mean() < 25
        objects = [box for box in entry["boxes"] if box["kind"] == "missed"]
        places = {tuple(round(96 * side) for side in box["box"]) for box in objects}
        assert places <= {(thing.top, thing.left, thing.bottom, thing.right) for thing in things}
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "False alarms and misses" in page
    assert "What the errors cost" in page
    assert all(json.dumps(entry["jpeg"])[1:-1] in page for entry in content["pictures"] + content["error_pictures"])


@pytest.mark.slow
def test_train_and_evaluate_keeps_the_details_of_the_last_evaluation(data_dir, tmp_path):
    with mock.patch("runtime.runner.leave_details", wraps=leave_details) as left:
        launch = train(data_dir, tmp_path, "--num_iter=2", "--eval_every_epochs=1", mode="train_and_evaluate")
    assert launch.status == 0, launch.error
    assert [call.kwargs["final"] for call in left.call_args_list] == [False, True]
    assert read_evaluation(tmp_path / EVALUATION_NAME)["step"] == 10
    assert "images: top-1 accuracy" not in launch.error
