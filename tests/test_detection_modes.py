"""Each mode of detection ends as the README says and leaves the files that it lists, with tiny networks."""

import csv
import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import ROOT
from tests.runtime.runs import assert_same_checkpoint, run
from tests.runtime.scenes import IDS, NAMES, picture_of, scene, write_scenes
from tests.test_modes import EVAL_SPEED, MEASURED, NETWORK_SPEED, TRAIN_SPEED

pytestmark = pytest.mark.slow

TWELVE = {
    *(f"Precision/mAP{kind}" for kind in ("", "@.50IOU", "@.75IOU", " (small)", " (medium)", " (large)")),
    *(f"Recall/AR@{most}" for most in (1, 10, 100)),
    *(f"Recall/AR@100 ({size})" for size in ("small", "medium", "large")),
}
QUALITY = TWELVE | {f"PerformanceByCategory/mAP/{name}" for name in NAMES} | {"images"}
SUMMARIES = {
    "train": {"precision"} | TRAIN_SPEED,
    "train_and_evaluate": {"precision"} | TRAIN_SPEED | EVAL_SPEED | QUALITY | {"intervals"},
    "evaluate": {"precision", "weights", "intervals"} | EVAL_SPEED | QUALITY,
    "training_benchmark": {"precision"} | TRAIN_SPEED | NETWORK_SPEED,
    "inference_benchmark": {"precision", "weights"} | EVAL_SPEED | NETWORK_SPEED | QUALITY,
}
FILES = {
    "train": {"checkpoint", "log.json"} | {f"model.ckpt-2.{end}" for end in ("data-00000-of-00001", "index", "json")},
    "evaluate": {"log.json", "detections.json", "evaluation.json"},
    "training_benchmark": {"log.json"},
    "inference_benchmark": {"log.json"},
}


def flags(folder, mode, *more):
    base = ("--arch=ssd320", f"--mode={mode}", f"--results_dir={folder / mode}", "--image_size=64", "--seed=3")
    return (*base, f"--data_dir={folder / 'data'}", "--batch_size=4", *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with ``data``, and the results of each mode under its name."""
    folder = tmp_path_factory.mktemp("detection")
    write_scenes(folder / "data")
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """One launch of each mode with a summary; ten scenes in batches of four make two steps per epoch."""
    model = f"--model_dir={folder / 'train_and_evaluate'}"
    return {
        "train": run(*flags(folder, "train", "--num_iter=1", "--display_every=1")),
        "train_and_evaluate": run(*flags(folder, "train_and_evaluate", "--num_iter=2", "--eval_count=2")),
        "evaluate": run(*flags(folder, "evaluate", model)),
        "training_benchmark": run(*flags(folder, "training_benchmark", *MEASURED)),
        "inference_benchmark": run(*flags(folder, "inference_benchmark", *MEASURED, model)),
    }


@pytest.mark.parametrize("mode", SUMMARIES)
def test_each_mode_ends_with_its_summary(runs, mode):
    assert runs[mode].status == 0, runs[mode].error
    assert set(runs[mode].summary) == SUMMARIES[mode]


def test_the_network_by_itself_is_computed(runs):
    latency_ms = runs["inference_benchmark"].summary["network_latency_p50"]
    assert latency_ms > 1  # if pruned it would take no time; its share is small if the input waits for the CPU


@pytest.mark.parametrize("mode", FILES)
def test_each_mode_leaves_its_files(runs, folder, mode):
    names = {path.name for path in (folder / mode).iterdir() if "tfevents" not in path.name and path.name != "eval"}
    assert names == FILES[mode]


def test_training_logs_both_losses_and_their_sum(runs):
    data = next(record["data"] for record in runs["train"].logged if len(record["step"]) == 2)
    parts = [data[name] for name in ("classification_loss", "localization_loss", "l2_loss")]
    assert data["total_loss"] == pytest.approx(sum(parts), rel=1e-5)
    assert all(part > 0 for part in parts)


def test_evaluations_come_at_equal_distances_and_the_best_is_kept(runs, folder):
    logged = [record["step"] for record in runs["train_and_evaluate"].logged if "Precision/mAP" in record["data"]]
    assert logged == [[1, 2], [2, 4], []]
    assert (folder / "train_and_evaluate" / "best" / "checkpoint").is_file()


def test_the_twelve_lines_are_printed(runs):
    lines = [line for line in runs["evaluate"].output.splitlines() if line.startswith(" Average ")]
    assert len(lines) == 12
    assert re.fullmatch(
        r" Average Precision  \(AP\) @\[ IoU=0.50:0.95 \| area=   all \| maxDets=100 \] = -?\d\.\d{3}", lines[0]
    )


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_batch_size_changes_no_metric_and_no_detection(runs, folder, tmp_path, batch_size):
    model = f"--model_dir={folder / 'train_and_evaluate'}"
    given = [*flags(folder, "evaluate", model), f"--batch_size={batch_size}", f"--results_dir={tmp_path}"]
    again = run(*[flag for flag in given if not flag.startswith("--arch")])  # stored with the weights
    assert {key: again.summary[key] for key in QUALITY} == {key: runs["evaluate"].summary[key] for key in QUALITY}
    ours, other = (json.loads((place / "detections.json").read_text()) for place in (folder / "evaluate", tmp_path))
    assert len(ours) == len(other) > 0
    for one, two in zip(ours, other, strict=True):
        assert (one["image_id"], one["category_id"]) == (two["image_id"], two["category_id"])
        np.testing.assert_allclose(one["bbox"], two["bbox"], atol=2e-3)
        assert one["score"] == pytest.approx(two["score"], rel=1e-5)


def test_the_results_file_scores_the_same_with_pycocotools(runs, folder):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images, annotations = [], []
    for number in range(1000, 1006):
        images.append({"id": number + 1, "width": 96, "height": 96})
        for thing in scene(number):
            box = [thing.left, thing.top, thing.right - thing.left, thing.bottom - thing.top]
            place = {"id": len(annotations) + 1, "image_id": number + 1, "category_id": thing.category, "iscrowd": 0}
            annotations.append({**place, "bbox": box, "area": box[2] * box[3]})
    truth = COCO()
    categories = [{"id": i, "name": name} for i, name in zip(IDS, NAMES, strict=True)]
    truth.dataset = {"images": images, "annotations": annotations, "categories": categories}
    with redirect_stdout(io.StringIO()):
        truth.createIndex()
        scored = COCOeval(truth, truth.loadRes(str(folder / "evaluate" / "detections.json")), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    summary = runs["evaluate"].summary
    names = ["Precision/mAP", "Precision/mAP@.50IOU", "Precision/mAP@.75IOU"]
    names += [f"Precision/mAP ({size})" for size in ("small", "medium", "large")]
    names += [f"Recall/AR@{most}" for most in (1, 10, 100)]
    names += [f"Recall/AR@100 ({size})" for size in ("small", "medium", "large")]
    np.testing.assert_allclose([summary[name] for name in names], scored.stats, atol=1e-12)


def test_prediction_draws_lists_and_names_what_it_found(runs, folder, tmp_path):
    assert runs["train_and_evaluate"].status == 0
    images = tmp_path / "images"
    (images / "more").mkdir(parents=True)
    (images / "one.png").write_bytes(picture_of(scene(2000), 1))
    (images / "more" / "two.png").write_bytes(picture_of(scene(2001), 2))
    (images / "three.jpg").write_bytes(b"no image")
    model = f"--model_dir={folder / 'train_and_evaluate'}"
    given = ("--mode=predict", "--arch=ssd320", model, f"--to_predict={images}", f"--results_dir={tmp_path}")
    result = run(*given, "--min_score=0.001")
    assert result.status == 3, result.error
    rows = json.loads((tmp_path / "predictions.json").read_text())
    assert [Path(row["file"]).name for row in rows] == ["two.png", "one.png", "three.jpg"]
    assert "error" in rows[2]
    for row in rows[:2]:
        assert row["predictions"]
        scores = [entry["score"] for entry in row["predictions"]]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) >= 0.001
        for entry in row["predictions"]:
            assert dict(zip(IDS, NAMES, strict=True))[entry["category_id"]] == entry["name"]
            np.testing.assert_allclose(entry["box_px"], np.array(entry["box"]) * 96, atol=0.01)
        with Image.open(row["picture"]) as picture, Image.open(row["file"]) as original:
            assert picture.size == original.size
            assert np.abs(np.asarray(picture, int) - np.asarray(original.convert("RGB"), int)).max() > 100
    with (tmp_path / "predictions.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == sum(len(row["predictions"]) for row in rows[:2]) + 1
    assert set(table[0]) == {"file", "error", "category_id", "name", "score", "ymin", "xmin", "ymax", "xmax"}


def test_an_exported_model_detects_the_same(runs, folder, tmp_path):
    model = f"--model_dir={folder / 'train_and_evaluate'}"
    result = run(*flags(folder, "evaluate", model, f"--export_dir={tmp_path}"), f"--results_dir={tmp_path / 'eval'}")
    assert result.status == runs["evaluate"].status == 0, result.error
    (exported,) = (path for path in tmp_path.iterdir() if path.name.isdigit())
    image = np.asarray(Image.open(io.BytesIO(picture_of(scene(1000), 1000))).resize((64, 64)), np.float32)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(exported))
        signature = loaded.signature_def["serving_default"]
        outputs = {name: info.name for name, info in signature.outputs.items()}
        found = session.run(outputs, {signature.inputs["input"].name: np.stack([image] * 3)})
    assert set(found) == {"detection_boxes", "detection_scores", "detection_classes", "num_detections"}
    assert found["detection_boxes"].shape == (3, 100, 4)
    assert found["num_detections"].dtype == np.float32
    assert set(np.unique(found["detection_classes"])) <= {0.0, *map(float, IDS)}
    metadata = json.loads((exported / "assets.extra" / "metadata.json").read_text())
    assert (metadata["class_names"], metadata["category_ids"]) == (list(NAMES), list(IDS))


def test_a_run_that_is_resumed_ends_with_the_same_weights(folder, tmp_path):
    whole = run(*flags(folder, "train", "--num_iter=3"), f"--results_dir={tmp_path / 'whole'}")
    for _ in range(3):
        part = run(*flags(folder, "train", "--num_iter=3", "--run_iter=1"), f"--results_dir={tmp_path / 'parts'}")
        assert part.status == whole.status == 0
    assert_same_checkpoint(tmp_path / "whole" / "model.ckpt-6", tmp_path / "parts" / "model.ckpt-6")


@pytest.mark.parametrize("mode", [*SUMMARIES, "predict"])
def test_each_mode_runs_in_a_process_of_its_own(runs, folder, tmp_path, mode):
    assert runs["train_and_evaluate"].status == 0
    given = [*flags(folder, mode), f"--results_dir={tmp_path}"]
    given += [*MEASURED] if "benchmark" in mode else ["--num_iter=1"] if mode.startswith("train") else []
    if mode in ("evaluate", "predict", "inference_benchmark"):
        given.append(f"--model_dir={folder / 'train_and_evaluate'}")
    if mode == "predict":
        (tmp_path / "one.png").write_bytes(picture_of(scene(2000), 1))
        given = [flag for flag in given if "data_dir" not in flag] + [f"--to_predict={tmp_path / 'one.png'}"]
    command = [sys.executable, "-m", "tests.runtime.tiny_main", *given]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "log.json").is_file()
