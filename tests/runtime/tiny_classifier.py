"""The classification task with a network of a few channels, shared by the tests of the runtime."""

import numpy as np
import tensorflow as tf

from model.layers.options import LayerOptions
from runtime.classification.task import classification_task
from tests.runtime.runs import tiny_networks
from utils.config import ExperimentConfig, ModelConfig, RunConfig
from utils.data_config import DataConfig
from utils.input.batching import STATUS_OK, Batch
from utils.optimizer_config import OptimizerConfig

SIZE = 8


def config(*, num_classes=3, batch_size=4, data_dir="data", source="tfrecord", top_k=5, mode="train", **optimizer):
    """A resolved configuration with images of eight pixels."""
    return ExperimentConfig(
        model=ModelConfig(
            architecture="resnet50",
            num_classes=num_classes,
            image_size=SIZE,
            label_offset=1,
            class_names=tuple(f"class {i}" for i in range(num_classes)),
        ),
        data=DataConfig(data_dir=data_dir, source=source, batch_size_per_replica=batch_size),
        optimizer=OptimizerConfig(**optimizer),
        run=RunConfig(mode=mode, top_k=top_k),
    )


def task(splits=None, seed=5, communicator=None, **changes):
    with tiny_networks():
        return classification_task(config(**changes), splits or {}, seed, LayerOptions(), communicator)


def batch(labels, status=None):
    """Noise images with these labels in turn."""
    count = len(labels)
    images = tf.constant(np.random.default_rng(0).uniform(0, 255, (count, SIZE, SIZE, 3)), tf.float32)
    status = tf.constant([STATUS_OK] * count if status is None else status, tf.int32)
    return Batch(images, {"labels": tf.constant(labels, tf.int32)}, status, tf.range(count, dtype=tf.int64))


def softmax_cross_entropy(logits, targets):
    """A second implementation: ``[N]`` losses in float64."""
    logits = np.asarray(logits, np.float64)
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -(targets * log_softmax).sum(axis=1)
