"""Image classification: the only module that combines network, data and loss of this task.

Shape symbols: N batch, H W image, C channels, K classes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from model.checkpoint_names import classifier_sources
from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import RESNETS, Part, ResNetSpec
from model.variable_groups import CLASSIFIER_SCOPE, depth_in_classifier, part_of_classifier
from runtime.classification.dropping import BRANCH_FACTORS, FEATURE_FACTORS, SEEDS_OF_RANK, drop_factors
from runtime.classification.evaluation import QUICK, THOROUGH, ClassificationEvaluator, Effort
from runtime.classification.losses import (
    LOSS_ROWS,
    binary_cross_entropy,
    divergence,
)
from runtime.classification.mixing import mixed
from runtime.classification.presenter import ClassPresenter
from runtime.classification.several_labels_evaluation import SeveralLabelsEvaluator
from runtime.classification.several_labels_presenter import SeveralLabelsPresenter
from runtime.classification.teacher import Teacher
from runtime.inference.logits import log_odds, log_probabilities
from runtime.inference.mirroring import Mirrored, probabilities_of_both
from runtime.task import Metrics, Network, PostProcessing, Presenter, Task, TensorMap, WarmStart
from utils.config import SYNTHETIC_EPOCH_BATCHES, ExperimentConfig, ModelConfig, resolved
from utils.data_utils import Reader, TensorFlowReader, synthetic_input
from utils.hooks.beginning import Chance
from utils.hvd_utils import Communicator, SerialCommunicator
from utils.image_processing import denormalize, eval_preprocess, normalize, normalized_range
from utils.image_sizes import EVAL_CROP, ImageSize, side_of
from utils.input.balanced_order import Balance
from utils.input.batching import Batch, Input, InputOptions, Position, Shard, without_autograph
from utils.input.labelled_images import LABELLED_IMAGES, images_with_labels
from utils.metric_names import CROSS_ENTROPY, DISTILLATION, INITIAL_CROSS_ENTROPY, LN_CLASSES, WEIGHTED
from utils.optimizer_table import SLOTS
from utils.optimizers import WeightDecay
from utils.records.label_index import split_labels
from utils.records.label_records import LabelRange
from utils.records.manifest import SplitFiles
from utils.records.record_rules import why_unusable
from utils.records.tfrecord_file import read_record
from utils.statistics.several_labels import MEAN_AVERAGE_PRECISION
from utils.weights.pretrained_config import MEAN_RGB, STD_RGB, Rgb

MIXUP_PURPOSE = 1
TEACHER_LOGITS = "teacher_logits"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """The examples for classification: images with one label each, or with several.

    ``train_size`` replaces the size that training begins with.
    """

    config: ExperimentConfig
    splits: Mapping[str, SplitFiles]
    seed: int
    communicator: Communicator
    reader: Reader
    train_size: int | None = None

    def num_examples(self, split: str) -> int:
        if split in self.splits:
            return self.splits[split].examples
        return SYNTHETIC_EPOCH_BATCHES * self.config.data.batch_size_per_replica * self.communicator.size

    def input_options(self) -> InputOptions:
        model, data = self.config.model, self.config.data
        return InputOptions(
            image_size=resolved(model, "image_size"),
            batch_size=data.batch_size_per_replica,
            num_classes=resolved(model, "num_classes"),
            label_offset=resolved(model, "label_offset"),
            seed=self.seed,
            augmentation=data.augmentation,
            threads=data.threads,
            shuffle=data.shuffle,
            shuffle_buffer=data.shuffle_buffer,
            scaled_decoding=data.scaled_decoding,
            eval_crop=model.eval_crop or EVAL_CROP,
            repeats=data.augment.repeated_augmentation,
        )

    @without_autograph
    def input(self, split: str, shard: Shard, start: Position) -> Input:
        files, options = self.splits.get(split), self.input_options()
        if split == "train":
            size = self.train_size or self.config.data.train_sizes(side_of(options.image_size))[0].size
            options = dataclasses.replace(options, batch_size=self.config.images_per_step, image_size=size)
            if files is not None and self.config.data.balanced_sampling:
                options = dataclasses.replace(options, balance=self._balance(files))
        if files is None:
            seed = tf.constant([options.seed, 1], tf.int64)
            labels = tf.random.stateless_uniform([options.batch_size], seed, 0, options.num_classes, tf.int32)
            if self.config.model.multi_label:
                labels = tf.one_hot(labels, options.num_classes)
            return synthetic_input(options, {"labels": labels})
        several = self.config.model.multi_label
        decoder = images_with_labels(options.num_classes) if several else LABELLED_IMAGES
        if split == "train":
            return self.reader.train_input(files, decoder, options, shard, start)
        return self.reader.eval_input(files, decoder, options, shard)

    def _balance(self, files: SplitFiles) -> Balance:
        model = self.config.model
        classes = split_labels(
            files, offset=resolved(model, "label_offset"), num_classes=resolved(model, "num_classes")
        ).first
        return Balance(classes=classes, power=self.config.data.balanced_power)

    def preprocess(self, encoded: Any, size: ImageSize) -> Any:
        return eval_preprocess(encoded, side_of(size), self.input_options().eval_crop)

    def describe_bad_example(self, split: str, index: int, status: int) -> str:
        del status  # the record itself tells
        path, number = self.splits[split].locate(index)
        count = self.input_options().num_classes
        offset, several = self.input_options().label_offset, self.config.model.multi_label
        labels = LabelRange(offset=offset, count=count, flag=f"--num_classes {count}", several=several)
        return f"{path}, record {number}: {why_unusable(read_record(path, number), labels.fault_in)}"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MostProbableClass:
    """The post-processing of logits."""

    num_classes: int
    class_names: Sequence[str] | None
    ends = ("logits",)
    is_costly = False
    prediction_names = ("classes", "probabilities")

    def portable(self) -> MostProbableClass:
        return self

    def predictions(self, endpoints: TensorMap) -> TensorMap:
        logits = endpoints["logits"]
        probabilities = endpoints["probabilities"] if "probabilities" in endpoints else tf.nn.softmax(logits)
        return {
            "classes": tf.argmax(logits, axis=1, output_type=tf.int32, name="ArgMax"),
            "probabilities": probabilities,
        }

    def outputs(self, endpoints: TensorMap, targets: TensorMap) -> TensorMap:
        return {"logits": endpoints["logits"], "labels": targets["labels"]}

    def outputs_of(self, predictions: TensorMap, targets: TensorMap) -> TensorMap:
        """The outputs from exported predictions; without logits, the logarithms of the probabilities replace them."""
        if "logits" in predictions:
            return self.outputs(predictions, targets)
        logits = log_probabilities(predictions["probabilities"])
        return self.outputs({"logits": logits}, targets)

    def in_pictures(self, predictions: TensorMap, sizes: Any) -> TensorMap:
        return predictions

    def class_names_of(self, predictions: TensorMap) -> Any:
        names = self.class_names
        if not names:
            return None
        padded = (*names, *map(str, range(len(names), self.num_classes)))[: self.num_classes]
        return tf.gather(tf.constant(padded), predictions["classes"])


@dataclass(frozen=True, slots=True, kw_only=True)
class EachClass:
    """The post-processing of logits for images with several classes."""

    ends = ("logits",)
    is_costly = False
    prediction_names = ("probabilities",)

    def portable(self) -> EachClass:
        return self

    def predictions(self, endpoints: TensorMap) -> TensorMap:
        if "probabilities" in endpoints:
            return {"probabilities": endpoints["probabilities"]}
        return {"probabilities": tf.sigmoid(endpoints["logits"])}

    def outputs(self, endpoints: TensorMap, targets: TensorMap) -> TensorMap:
        return {"logits": endpoints["logits"], "labels": targets["labels"]}

    def outputs_of(self, predictions: TensorMap, targets: TensorMap) -> TensorMap:
        """The outputs from exported predictions; without logits, their probabilities give them."""
        if "logits" in predictions:
            return self.outputs(predictions, targets)
        return self.outputs({"logits": log_odds(predictions["probabilities"])}, targets)

    def in_pictures(self, predictions: TensorMap, sizes: Any) -> TensorMap:
        return predictions

    def class_names_of(self, predictions: TensorMap) -> Any:
        return None


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
