"""The training of a classifier beside its network: mixing, losses, regularization and the start from other weights.

Shape symbols: N batch, H W image, C channels, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from model.specs import Part
from model.variable_groups import CLASSIFIER_SCOPE, depth_in_classifier, part_of_classifier
from runtime.classification.dropping import BRANCH_FACTORS, FEATURE_FACTORS, SEEDS_OF_RANK, drop_factors
from runtime.classification.losses import LOSS_ROWS, binary_cross_entropy, divergence
from runtime.classification.mixing import mixed
from runtime.classification.network import Classifier
from runtime.classification.teacher import Teacher
from runtime.task import TensorMap, WarmStart
from utils.config import ExperimentConfig
from utils.hooks.beginning import Chance
from utils.hvd_utils import Communicator
from utils.image_processing import denormalize
from utils.input.batching import Batch, Shard
from utils.metric_names import CROSS_ENTROPY, DISTILLATION, INITIAL_CROSS_ENTROPY, LN_CLASSES, WEIGHTED
from utils.optimizers import WeightDecay

MIXUP_PURPOSE = 1
TEACHER_LOGITS = "teacher_logits"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationTraining:
    """The loss of soft targets that ``--loss`` names, in which images may count as their classes weigh.

    A teacher's predictions may be targets too.
    """

    config: ExperimentConfig
    network: Classifier
    seed: int
    communicator: Communicator
    teacher: Teacher | None = None

    def prepare(self, images: Any, batch: Batch, step: Any) -> tuple[Any, TensorMap]:
        optimizer, labels = self.config.optimizer, batch.targets["labels"]
        if self.network.several:
            labels = (1.0 - optimizer.label_smoothing) * labels + 0.5 * optimizer.label_smoothing
        else:
            labels = smoothed_one_hot(labels, self.network.num_classes, optimizer.label_smoothing)
        weighs_images = optimizer.weight_of_class is not None and not self.network.several
        if weighs_images:  # a column more, so that they are mixed as labels are
            weights = tf.gather(tf.constant(optimizer.weight_of_class, tf.float32), batch.targets["labels"])
            labels = tf.concat([labels, weights[:, tf.newaxis]], axis=1)
        seed = self._seed(step) if self._draws else None
        if optimizer.mixup_alpha > 0 or optimizer.cutmix_alpha > 0:
            images, labels = mixed(images, labels, batch.mask, (optimizer.mixup_alpha, optimizer.cutmix_alpha), seed)
        targets = {}
        if weighs_images:
            labels, targets["weights"] = labels[:, :-1], labels[:, -1]
        if optimizer.bce_target_threshold is not None:
            labels = tf.cast(labels > optimizer.bce_target_threshold, labels.dtype)
        return images, {"probabilities": labels, **targets, **self._factors(images, seed)}

    @property
    def _draws(self) -> bool:
        """True if a step needs random numbers."""
        optimizer = self.config.optimizer
        return any((optimizer.mixup_alpha, optimizer.cutmix_alpha, optimizer.stochastic_depth, optimizer.dropout))

    def _seed(self, step: Any) -> Any:
        """The seed of a step in this process. A GPU waits for its copy to the host, so all draws share it."""
        own = self.seed * 2 + MIXUP_PURPOSE + self.communicator.rank * SEEDS_OF_RANK
        return tf.stack([tf.constant(own, tf.int64), step])

    def _factors(self, images: Any, seed: Any) -> TensorMap:
        spec, shard = self.network.spec, Shard(index=self.communicator.rank, count=self.communicator.size)
        count = int(images.shape[0])
        return drop_factors(self.config.optimizer, sum(spec.blocks), spec.features, count, shard, seed)

    def forward(self, images: Any, targets: TensorMap) -> TensorMap:
        factors = {name: targets[name] for name in (BRANCH_FACTORS, FEATURE_FACTORS) if name in targets}
        endpoints = self.network.forward(images, training=True, factors=factors)
        if self.teacher is None:
            return endpoints
        raw = denormalize(images, self.network.mean_rgb, self.network.std_rgb)  # mixed, as the student sees them
        return {**endpoints, TEACHER_LOGITS: self.teacher.logits(raw)}

    def losses(self, endpoints: TensorMap, targets: TensorMap, mask: Any, normalizer: Any = None) -> TensorMap:
        labels, logits = tf.stop_gradient(targets["probabilities"]), endpoints["logits"]
        key, loss = LOSS_ROWS[self.config.optimizer.loss]
        weights = self.config.optimizer.weight_of_class
        if self.network.several and weights is not None:
            per_example = binary_cross_entropy(logits, labels, tf.constant(weights, tf.float32))
        else:
            per_example = loss(logits, labels, self.config.optimizer)
        if "weights" in targets:
            per_example *= tf.stop_gradient(targets["weights"])
        count = self.normalizer(targets, mask) if normalizer is None else normalizer
        loss_of_labels = tf.reduce_sum(per_example * mask) / count
        if self.teacher is None:
            return {key: loss_of_labels}
        told = self.config.distillation
        soft = divergence(endpoints[TEACHER_LOGITS], logits, told.used_temperature)
        weight = told.used_alpha * told.used_temperature**2
        return {
            f"{WEIGHTED}{key}": (1.0 - told.used_alpha) * loss_of_labels,
            DISTILLATION: weight * tf.reduce_sum(soft * mask) / count,
        }

    def normalizer(self, targets: TensorMap, mask: Any) -> Any:
        """The number of images that count, the mean over all processes."""
        return tf.maximum(self.communicator.average(tf.reduce_sum(mask)), 1.0 / self.communicator.size)

    @property
    def chance(self) -> Chance | None:
        """The cross-entropy of equal probabilities, ln K for any targets that sum to 1."""
        optimizer = self.config.optimizer
        if optimizer.loss != "softmax" or optimizer.weight_of_class is not None or self.teacher is not None:
            return None
        return Chance(
            loss=CROSS_ENTROPY,
            initial_key=INITIAL_CROSS_ENTROPY,
            key=LN_CLASSES,
            value=math.log(self.network.num_classes),
            remedy="--head_init=small",
        )

    def weight_decay(self, variables: Sequence[Any]) -> WeightDecay:
        optimizer = self.config.optimizer
        return WeightDecay(variables, optimizer.weight_decay, biases=not optimizer.no_bias_decay)

    def part_of(self, name: str) -> Part:
        return part_of_classifier(name)

    def depth_of(self, name: str) -> int:
        return depth_in_classifier(name, self.network.spec)

    def warm_start_map(self, stored: Mapping[str, Sequence[int]]) -> WarmStart:
        scope = f"{self.network.spec.name}/{CLASSIFIER_SCOPE}/dense"
        head = frozenset(f"{scope}/{kind}" for kind in ("kernel", "bias"))
        return WarmStart(sources=self.network.stored_names(stored), factors={}, replaceable=head)


def smoothed_one_hot(labels: Any, num_classes: int, smoothing: float) -> Any:
    """Targets [N, K]: ``1 - smoothing`` for the label, and ``smoothing`` spread evenly over all K classes.

    Source: Szegedy et al., Rethinking the Inception Architecture, arXiv:1512.00567, section 7.
    """
    spread = smoothing / num_classes
    return tf.one_hot(labels, num_classes, on_value=1.0 - smoothing + spread, off_value=spread)
