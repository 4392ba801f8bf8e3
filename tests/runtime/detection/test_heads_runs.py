"""A detector with all heads, matched by predictions, is trained, continued, evaluated and used as its weights say."""

import json

import numpy as np
import pytest

from tests.runtime.runs import network, run, values
from tests.runtime.scenes import picture_of, scene, write_scenes

HEADS = ("--distribution_focal", "--centerness")
MODERN = (*HEADS, "--matcher=task_aligned", "--box_loss=giou", "--class_loss=quality_focal", "--anchors_per_cell=1")
SIZES = ("--image_size=64", "--batch_size=2", "--seed=1")
PREDICTOR = "WeightSharedConvolutionalBoxPredictor"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scenes in ``data``, a usual detector in ``old``, and one with all heads in ``new``, started from the former."""
    folder = tmp_path_factory.mktemp("heads")
    data = write_scenes(folder / "data")
    steps = ("--iter_unit=batch", "--num_iter=2", *SIZES)
    for name, more in (
        ("old", ("--anchors_per_cell=1",)),
        ("new", (*MODERN, f"--finetune_checkpoint={folder / 'old'}", "--num_iter=3")),
    ):
        finished = run(*network(data, folder / name, "train", "ssd320"), *steps, *more)
        assert finished.status == 0, finished.error
    return folder


def test_the_weights_of_a_detector_without_the_heads_begin_a_run_with_them(folder):
    old, new = values(folder / "old" / "model.ckpt-2"), values(folder / "new" / "model.ckpt-3")
    added = {name for name in new.keys() - old.keys() if "Momentum" not in name}
    kinds = ("weights", "biases")
    scopes = ("BoxDistributionPredictor", "CenternessPredictor")
    assert added == {f"{PREDICTOR}/{scope}/{kind}" for scope in scopes for kind in kinds}
    tower = f"{PREDICTOR}/BoxPredictionTower/conv2d_0/weights"
    assert 0 < np.abs(new[tower] - old[tower]).max() < 0.1
    stored = json.loads((folder / "new" / "model.ckpt-3.json").read_text())
    assert stored["heads"] == {"distribution": True, "centerness": True}


def test_prediction_follows_the_weights(folder, tmp_path):
    (tmp_path / "scene.png").write_bytes(picture_of(scene(1000), 1000))
    given = (f"--model_dir={folder / 'new'}", f"--to_predict={tmp_path / 'scene.png'}", f"--results_dir={tmp_path}")
    predicted = run("--mode=predict", *given, "--min_score=0")
    assert predicted.status == 0, predicted.error
    rows = json.loads((tmp_path / "predictions.json").read_text())
    assert len(rows[0]["predictions"]) > 1


@pytest.mark.slow
def test_evaluation_and_export_follow_the_weights(folder, tmp_path):
    given = (f"--data_dir={folder / 'data'}", "--batch_size=2", f"--model_dir={folder / 'new'}")
    again = run("--mode=evaluate", *given, f"--results_dir={tmp_path / 'e'}", f"--export_dir={tmp_path / 'export'}")
    assert again.status == 0, again.error
    (exported,) = (path for path in (tmp_path / "export").iterdir() if path.name.isdigit())
    result = run("--mode=evaluate", *given, f"--model_dir={exported}", f"--results_dir={tmp_path / 'x'}")
    assert result.status == 0, result.error
    assert result.summary["Precision/mAP"] == pytest.approx(again.summary["Precision/mAP"], abs=1e-6)
    ours, theirs = (json.loads((tmp_path / name / "detections.json").read_text()) for name in ("e", "x"))
    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose([one["score"] for one in theirs], [one["score"] for one in ours], atol=1e-4)


@pytest.mark.parametrize("flag", HEADS)
def test_a_head_that_the_weights_lack_is_refused_and_nothing_is_lost(flag, folder):
    before = sorted(path.name for path in (folder / "old").iterdir())
    refused = run(*network(folder / "data", folder / "old", "train", "ssd320"), flag, *SIZES)
    assert refused.status == 2
    assert f"{flag}: asks for a head that the checkpoint was trained without" in refused.error
    assert sorted(path.name for path in (folder / "old").iterdir()) == before
