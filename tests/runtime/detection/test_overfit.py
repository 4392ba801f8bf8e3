"""Detection end to end: a small network overfits eight scenes, boxes and classes included."""

import dataclasses
from unittest import mock

import pytest

from model.specs import BACKBONES, SSDS
from tests.runtime.runs import run
from tests.runtime.scenes import write_scenes

SMALL = dataclasses.replace(BACKBONES["resnet_v1_50"], blocks=(1, 1, 1, 1), widths=(16, 16, 32, 32), stem_width=16)
DETECTOR = dataclasses.replace(SSDS["ssd320"], width=64, tower_layers=2)
STEPS = 160


@pytest.mark.slow
def test_eight_scenes_are_learned_by_heart(tmp_path):
    data = write_scenes(tmp_path / "data", train=8, validation=8, first_validation=0)
    with (
        mock.patch("tests.runtime.runs.TINY_BACKBONES", {"resnet_v1_50": SMALL}),
        mock.patch("tests.runtime.runs.TINY_SSDS", {"ssd320": DETECTOR}),
    ):
        result = run(
            *("--arch=ssd320", "--mode=train_and_evaluate", f"--data_dir={data}", f"--results_dir={tmp_path / 'run'}"),
            *("--image_size=96", "--batch_size=8", f"--num_iter={STEPS}", "--iter_unit=batch", "--seed=1"),
            *("--lr_init=3", "--weight_decay=0", "--no_color_jitter", "--batch_norm_decay=0.9"),
        )
    assert result.status == 0, result.error
    assert result.summary["Precision/mAP@.50IOU"] > 0.9
    assert result.summary["images"] == 8
