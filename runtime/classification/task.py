"""Image classification: the only module that combines network, data and loss of this task."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from model.layers.options import LayerOptions
from model.specs import RESNETS
from runtime.classification.evaluation import QUICK, THOROUGH, ClassificationEvaluator, Effort
from runtime.classification.labelled_data import LabelledImages
from runtime.classification.network import Classifier
from runtime.classification.post_processing import EachClass, MostProbableClass
from runtime.classification.presenter import ClassPresenter
from runtime.classification.several_labels_evaluation import SeveralLabelsEvaluator
from runtime.classification.several_labels_presenter import SeveralLabelsPresenter
from runtime.classification.training import ClassificationTraining
from runtime.inference.mirroring import Mirrored, probabilities_of_both
from runtime.task import Metrics, Network, PostProcessing, Presenter, Task
from utils.config import ExperimentConfig, ModelConfig, resolved
from utils.data_utils import Reader, TensorFlowReader
from utils.hvd_utils import Communicator, SerialCommunicator
from utils.image_processing import normalized_range
from utils.image_sizes import EVAL_CROP
from utils.records.split_files import SplitFiles
from utils.statistics.several_labels import MEAN_AVERAGE_PRECISION
from utils.weights.pretrained_config import MEAN_RGB, STD_RGB, Rgb


def classification_task(
    config: ExperimentConfig,
    splits: Mapping[str, SplitFiles],
    seed: int,
    layers: LayerOptions,
    communicator: Communicator | None = None,
    reader: Reader | None = None,
) -> Task:
    """The classification task of a resolved configuration.

    Args:
        config: Resolved configuration, with architecture, class count, image size and label offset.
        splits: Files by split; a split without files is synthetic.
        seed: Seed of all randomness.
        layers: Options of the network's layers; ``training`` is set when the network is built.
        communicator: The processes that train together.
        reader: Reader of the records.
    """
    model = config.model
    communicator, reader = communicator or SerialCommunicator(), reader or TensorFlowReader()
    spec = RESNETS[resolved(model, "architecture")].as_trained(**model.pretrained.network)
    num_classes: int = resolved(model, "num_classes")
    mean_rgb, std_rgb = model.pretrained.mean_rgb or MEAN_RGB, model.pretrained.std_rgb or STD_RGB
    network = Classifier(
        spec=spec,
        layers=dataclasses.replace(layers, input_range=normalized_range(mean_rgb, std_rgb)),
        num_classes=num_classes,
        final_conv=model.use_final_conv,
        mean_rgb=mean_rgb,
        std_rgb=std_rgb,
        several=model.multi_label,
    )
    last, metrics, presenter = _several_labels(config) if model.multi_label else _one_label(config)
    return Task(
        data=LabelledImages(config=config, splits=splits, seed=seed, communicator=communicator, reader=reader),
        network=_views(config, network),
        post_processing=last,
        training=ClassificationTraining(config=config, network=network, seed=seed, communicator=communicator),
        metrics=metrics,
        presenter=presenter,
        metadata=_metadata(model, mean_rgb, std_rgb),
    )


def _views(config: ExperimentConfig, network: Classifier) -> Network:
    """The network as it looks at images."""
    if not config.prediction.test_time_augmentation:
        return network
    return Mirrored(network, functools.partial(probabilities_of_both, several=network.several))


def _one_label(config: ExperimentConfig) -> tuple[PostProcessing, Metrics, Presenter]:
    model, top_k, effort = config.model, config.run.top_k, _effort(config)
    num_classes: int = resolved(model, "num_classes")
    return (
        MostProbableClass(num_classes=num_classes, class_names=model.class_names),
        Metrics(best="top1_accuracy", evaluator=lambda: ClassificationEvaluator(top_k, effort)),
        ClassPresenter(model.class_names, min(top_k, num_classes)),
    )


def _several_labels(config: ExperimentConfig) -> tuple[PostProcessing, Metrics, Presenter]:
    effort = _effort(config)
    return (
        EachClass(),
        Metrics(best=MEAN_AVERAGE_PRECISION, evaluator=lambda: SeveralLabelsEvaluator(effort)),
        SeveralLabelsPresenter(config.model.class_names, config.run.min_score),
    )


def _effort(config: ExperimentConfig) -> Effort:
    return THOROUGH if config.run.mode == "evaluate" else QUICK


def _metadata(model: ModelConfig, mean_rgb: Rgb, std_rgb: Rgb) -> dict[str, Any]:
    return {
        "task": "classification",
        "architecture": model.architecture,
        "quantization": model.quantization and dataclasses.asdict(model.quantization),
        "num_classes": model.num_classes,
        "class_names": None if model.class_names is None else list(model.class_names),
        "data_class_names": None if model.data_class_names is None else list(model.data_class_names),
        "label_offset": model.label_offset,
        "use_final_conv": model.use_final_conv,
        "image_size": model.image_size,
        **({} if model.eval_crop in (None, EVAL_CROP) else {"eval_crop": model.eval_crop}),
        "network": model.pretrained.network,
        **({"multi_label": True} if model.multi_label else {}),
        "preprocessing": {"mean_rgb": list(mean_rgb), "std_rgb": list(std_rgb), "range": [0, 255]},
    }
