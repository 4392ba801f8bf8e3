"""The network of a classifier.

Shape symbols: N batch, K classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from model.checkpoint_names import classifier_sources
from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import ResNetSpec
from runtime.task import TensorMap
from utils.image_processing import normalize
from utils.optimizer_table import SLOTS
from utils.weights.pretrained_config import Rgb


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A residual network that ends in logits and probabilities, [N, K] each.

    Probabilities are those of the softmax, or with ``several`` classes an image of a sigmoid for each.
    """

    spec: ResNetSpec
    layers: LayerOptions
    num_classes: int
    final_conv: bool
    mean_rgb: Rgb
    std_rgb: Rgb
    several: bool = False

    def normalize(self, images: Any) -> Any:
        return normalize(images, self.mean_rgb, self.std_rgb)

    def forward(self, images: Any, *, training: bool, factors: TensorMap | None = None) -> TensorMap:
        """The endpoints; ``factors`` are those of ``runtime.classification.dropping`` for these images."""
        layers = dataclasses.replace(self.layers, training=training, **(factors or {}))
        endpoints = resnet(images, self.spec, self.num_classes, layers, final_conv=self.final_conv)
        return {**endpoints, "probabilities": tf.sigmoid(endpoints["logits"])} if self.several else endpoints

    def stored_names(self, stored: Mapping[str, Sequence[int]]) -> Mapping[str, str]:
        return classifier_sources(stored, self.spec.name, SLOTS)

    def by_zero_point(self) -> Classifier:
        return dataclasses.replace(self, layers=self.layers.by_zero_point())

    def portable(self) -> Classifier:
        return dataclasses.replace(self, layers=dataclasses.replace(self.layers, device="cpu"))
