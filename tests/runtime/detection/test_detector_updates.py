"""Optimizers, schedules, accumulation, clipping and moving averages do for detectors what they do for classifiers."""

import json

import numpy as np
import pytest

from tests.runtime.runs import network, run, values
from tests.runtime.scenes import write_scenes
from utils.optimizer_table import OPTIMIZERS

LENGTH = (
    "--backbone=resnet18",
    "--image_size=64",
    "--seed=1",
    "--iter_unit=batch",
    "--num_iter=2",
    "--display_every=1",
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"))


def trained(scenes, results, *flags):
    result = run(*network(scenes, results, "train", "ssd320"), *LENGTH, *flags)
    assert result.status == 0, result.error
    return result


def test_parts_of_a_batch_add_up_to_the_batch(scenes, tmp_path):
    """Batch normalization alone sees the parts, so its statistics are frozen."""
    flags = ("--freeze_batch_norm", "--lr_init=0.5", "--clip_norm=0.5", "--lr_warmup_epochs=0")
    whole = trained(scenes, tmp_path / "whole", "--batch_size=4", *flags)
    parts = trained(scenes, tmp_path / "parts", "--batch_size=2", "--accumulate_steps=2", *flags)
    np.testing.assert_allclose([loss for _, loss in parts.losses], [loss for _, loss in whole.losses], rtol=1e-4)
    ours, theirs = (values(tmp_path / name / "model.ckpt-2") for name in ("parts", "whole"))
    assert ours.keys() == theirs.keys()
    moved = "WeightSharedConvolutionalBoxPredictor/ClassPredictor/weights"
    assert f"{moved}/Momentum" in ours
    np.testing.assert_allclose(ours[moved], theirs[moved], atol=1e-4)


def test_a_later_recipe_trains_a_detector_and_its_averages_are_evaluated(scenes, tmp_path):
    flags = ("--optimizer=lamb", "--schedule=linear", "--lr_final=0", "--ema_decay=0.5", "--norm=group")
    result = trained(scenes, tmp_path / "run", *flags, "--batch_size=4", "--lr_init=0.001", "--lr_warmup_epochs=0")
    rates = [record["data"]["learning_rate"] for record in result.logged if "learning_rate" in record["data"]]
    assert rates[:2] == pytest.approx([rates[0], rates[0] / 2])
    assert np.isfinite([loss for _, loss in result.losses]).all()
    stored = values(tmp_path / "run" / "model.ckpt-2")
    gamma = "WeightSharedConvolutionalBoxPredictor/ClassPredictionTower/conv2d_0/GroupNorm/gamma"
    assert not np.array_equal(stored[gamma], stored[f"{gamma}/ExponentialMovingAverage"])
    assert {f"{gamma}/{slot}" for slot in OPTIMIZERS["lamb"].slots} <= stored.keys()
    assert json.loads((tmp_path / "run" / "model.ckpt-2.json").read_text())["norm"] == "group"
    given = ("--mode=evaluate", f"--data_dir={scenes}", f"--model_dir={tmp_path / 'run'}", "--batch_size=2")
    evaluated = run(*given, f"--results_dir={tmp_path / 'evaluation'}")
    assert evaluated.status == 0, evaluated.error
    assert evaluated.summary["eval_weights"] == "ema"
    assert evaluated.parameters["norm"] == "group"
    refused = run(*given, "--arch=ssd320", "--norm=batch", f"--results_dir={tmp_path / 'refused'}")
    assert refused.status == 2
    assert "--norm batch: the checkpoint was trained with group; leave --norm out" in refused.error
