"""The records that a launch reads."""

import re

import pytest

from runtime.setup.data import _splits
from utils.config import ExperimentConfig, ModelConfig, RunConfig
from utils.data_config import DataConfig
from utils.detection_config import DetectionConfig
from utils.errors import RunError


@pytest.mark.parametrize(
    ("mode", "field"), [("train", "train_input_path"), ("evaluate", "eval_input_path")], ids=["train", "evaluate"]
)
def test_an_input_path_that_matches_nothing_is_told_with_its_flag(tmp_path, mode, field):
    pattern = f"{tmp_path}/nothing*"
    config = ExperimentConfig(
        model=ModelConfig(architecture="ssd320"),
        data=DataConfig(train_files=(pattern,), validation_files=(pattern,)),
        run=RunConfig(mode=mode, model_dir="M"),
        detection=DetectionConfig(),
    )
    told = f"--pipeline_config_path: {field} {pattern}: no file matches"
    with pytest.raises(RunError, match=f"^{re.escape(told)}"):
        _splits(config)
