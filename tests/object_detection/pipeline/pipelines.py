"""Pipeline configs for tests: the shipped ones, and edited copies."""

import functools
from pathlib import Path

from object_detection.pipeline import config as pipeline_config
from object_detection.pipeline.config import apply_overrides, load_pipeline
from utils.config import RunConfig

CONFIGS = Path(__file__).resolve().parents[3] / "object_detection" / "configs"
FULL = ("ssd320_full_1gpus", "ssd320_full_4gpus", "ssd320_full_8gpus", "ssd320_bench")
ALL = (*FULL, "ssd320_full_8gpus_jitter")

SSD = "model.ssd."
PREDICTOR = f"{SSD}box_predictor.weight_shared_convolutional_box_predictor."
EXTRACTOR = f"{SSD}feature_extractor."
GROUPED = ",".join(f"{part}conv_hyperparams.group_norm={{}}" for part in (EXTRACTOR, PREDICTOR))
NMS = f"{SSD}post_processing.batch_non_max_suppression."
MOMENTUM = "train_config.optimizer.momentum_optimizer."
COSINE = f"{MOMENTUM}learning_rate.cosine_decay_learning_rate."
OPTIONS = "train_config.data_augmentation_options"


@functools.cache
def shipped(name="ssd320_full_8gpus"):
    return load_pipeline(str(CONFIGS / f"{name}.config"))


def changed(overrides, name="ssd320_full_8gpus"):
    return apply_overrides(shipped(name), overrides)


def experiment(overrides="", name="ssd320_full_8gpus", **options):
    """Returns the experiment of a shipped config with overrides, and its notes."""
    return pipeline_config.to_experiment(changed(overrides, name), **{"run": RunConfig(), **options})


def edited(tmp_path, old, new, name="ssd320_full_8gpus"):
    """Copies a shipped config with a part of its text replaced; returns the path and the line of the change."""
    text = (CONFIGS / f"{name}.config").read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old} is there {text.count(old)} times"
    path = tmp_path / "mine.config"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return str(path), text[: text.index(old)].count("\n") + 1
