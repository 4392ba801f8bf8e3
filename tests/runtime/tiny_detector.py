"""The detection task with a network of a few channels, shared by the tests of the runtime."""

import contextlib
from dataclasses import replace
from unittest import mock

from model.layers.options import LayerOptions
from model.specs import BACKBONES, RESNETS, SSDS
from runtime.detection.task import detection_task
from tests.model.tiny_ssd import SMALL, TINY_SSD
from utils.config import ExperimentConfig, ModelConfig, RunConfig
from utils.data_config import DataConfig
from utils.detection_config import DetectionConfig
from utils.optimizer_config import OptimizerConfig
from utils.prediction_config import PredictionConfig

IDS, NAMES = (1, 3, 7), ("cat", "dog", "bird")
SIZE = 64
ANCHORS = 6 * (8 * 8 + 4 * 4 + 2 * 2 + 1 + 1)


def _small(row):
    return replace(row, **SMALL, cardinality=min(row.cardinality, 2), se_ratio=min(row.se_ratio, 4))


@contextlib.contextmanager
def tiny_detectors():
    """Shrinks the detector, its backbones and the classifiers to a few channels."""
    backbones, classifiers = ({name: _small(row) for name, row in rows.items()} for rows in (BACKBONES, RESNETS))
    with (
        mock.patch.dict(SSDS, {"ssd320": TINY_SSD}),
        mock.patch.dict(BACKBONES, backbones),
        mock.patch.dict(RESNETS, classifiers),
    ):
        yield


def config(*, data=None, detection=None, run=None, prediction=None, weight_decay=4e-4, **model):
    """A resolved configuration: three categories whose ids have gaps, at 64 pixels."""
    given = {
        "architecture": "ssd320",
        "num_classes": 7,
        "image_size": SIZE,
        "label_offset": 0,
        "category_ids": IDS,
        "class_names": NAMES,
        "backbone": "resnet_v1_50",
    }
    return ExperimentConfig(
        model=ModelConfig(**given | model),
        data=DataConfig(**{"batch_size_per_replica": 2} | (data or {})),
        optimizer=OptimizerConfig(weight_decay=weight_decay),
        run=RunConfig(**{"mode": "train"} | (run or {})),
        detection=detection or DetectionConfig(),
        prediction=prediction or PredictionConfig(),
    )


def task(splits=None, *, seed=5, communicator=None, layers=None, **changes):
    with tiny_detectors():
        return detection_task(config(**changes), splits or {}, seed, layers or LayerOptions(), communicator)
