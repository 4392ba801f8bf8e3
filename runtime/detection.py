"""Object detection: the only module that combines network, boxes, data and loss of this task.

Shape symbols: N batch, A anchors, D detections, K class slots.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from model.checkpoint_names import own_classifier, stem_kernel
from model.layers.options import LayerOptions
from model.specs import BACKBONES, CODE_SIZE, SSDS, Part, SSDSpec
from model.ssd import ssd
from model.variable_groups import part_of_detector
from model.warm_start import CLASS_HEAD, backbone_of, detector_sources
from object_detection.anchors import cells_of_levels, pyramid_anchors
from object_detection.box_coder import decode
from object_detection.box_losses import LOSSES_OF_BOXES
from object_detection.box_ops import aligned_iou
from object_detection.class_table import ClassTable, class_table
from object_detection.coco.evaluation import CocoEvaluator
from object_detection.input_pipeline import detection_decoder
from object_detection.losses import focal_loss_of_slots, huber_loss, quality_focal_loss_of_slots
from object_detection.object_records import fault_in
from object_detection.postprocessing import Detections, postprocess
from object_detection.preprocessing import preprocess_image
from object_detection.presenter import BoxPresenter
from object_detection.synthetic_objects import synthetic_objects
from object_detection.target_assigner import Groundtruth, assign_targets, in_few_rows
from runtime.resolve_detector import DEFAULT_BACKBONE
from runtime.task import Metrics, Task, TensorMap, WarmStart
from utils.config import SYNTHETIC_EPOCH_BATCHES, ExperimentConfig, ModelConfig, resolved
from utils.data_utils import Reader, TensorFlowReader, synthetic_input
from utils.detection_config import LARGEST_LOG, DetectionConfig
from utils.hvd_utils import Communicator, SerialCommunicator
from utils.image_processing import normalized_range, subtract_mean
from utils.input.batching import Batch, Input, InputOptions, Position, Shard, without_autograph
from utils.optimizers import WeightDecay
from utils.records.manifest import SplitFiles
from utils.records.record_rules import why_unusable
from utils.records.tfrecord_file import read_record
from utils.weights.checkpoint_contents import by_name
from utils.weights.pretrained_config import DETECTION_MEAN_RGB, MEAN_RGB, STD_RGB, Rgb

_GROUNDTRUTH = ("groundtruth_boxes", "groundtruth_slots", "groundtruth_weights", "groundtruth_ignored")  # its fields


def detection_task(
    config: ExperimentConfig,
    splits: Mapping[str, SplitFiles],
    seed: int,
    layers: LayerOptions,
    communicator: Communicator | None = None,
    reader: Reader | None = None,
) -> Task:
    """The detection task of a resolved configuration.

    Args:
        config: Resolved configuration, with architecture, classes and their ids, backbone, image size and
            ``detection``.
        splits: Files by split; a split without files is synthetic.
        seed: Seed of all randomness.
        layers: Options of the network's layers; ``training`` is set when the network is built.
        communicator: The processes that train together.
        reader: Reader of the records.
    """
    model, detection, size = config.model, resolved(config, "detection"), resolved(config.model, "image_size")
    communicator, reader = communicator or SerialCommunicator(), reader or TensorFlowReader()
    table = class_table_of(model, exact=detection.exact_classes)
    anchors = pyramid_anchors(size, size, detection.anchors)
    mean_rgb = model.pretrained.mean_rgb or (DETECTION_MEAN_RGB if model.backbone == DEFAULT_BACKBONE else MEAN_RGB)
    network = _detector(model, detection, table, mean_rgb, layers)
    return Task(
        data=ImagesWithObjects(
            config=config,
            detection=detection,
            splits=splits,
            seed=seed,
            communicator=communicator,
            reader=reader,
            table=table,
        ),
        network=network,
        post_processing=Suppression(anchors=anchors, detection=detection, table=table, device=layers.device),
        training=_training(config, anchors, network, communicator),
        metrics=_metrics(config, table),
        presenter=BoxPresenter(dict(zip(table.ids, table.names, strict=True)), config.run.min_score),
        metadata=_metadata(model, detection, table, mean_rgb),
    )


def _training(
    config: ExperimentConfig, anchors: np.ndarray, network: Detector, communicator: Communicator
) -> DetectionTraining:
    model, detection, size = config.model, resolved(config, "detection"), resolved(config.model, "image_size")
    return DetectionTraining(
        anchors=anchors,
        cells=cells_of_levels(size, size, detection.anchors),
        detection=detection,
        backbone=resolved(model, "backbone"),
        weight_decay_factor=config.optimizer.weight_decay,
        std_rgb=model.pretrained.std_rgb or STD_RGB,
        communicator=communicator,
        network=network,
    )


def _metrics(config: ExperimentConfig, table: ClassTable) -> Metrics:
    categories, quick = list(zip(table.ids, table.names, strict=True)), config.run.mode != "evaluate"
    return Metrics(best="Precision/mAP", evaluator=lambda: CocoEvaluator(categories, quick=quick))


def _detector(
    model: ModelConfig, detection: DetectionConfig, table: ClassTable, mean_rgb: Rgb, layers: LayerOptions
) -> Detector:
    return Detector(
        spec=_network(model, detection.batch_norm_decay),
        layers=dataclasses.replace(layers, input_range=normalized_range(mean_rgb, (1.0, 1.0, 1.0))),
        anchors_per_cell=detection.anchors.per_cell,
        table=table,
        mean_rgb=mean_rgb,
    )


def class_table_of(model: ModelConfig, *, exact: bool) -> ClassTable:
    """The class table of a resolved detector; ``exact`` as in ``object_detection.class_table``."""
    return class_table(
        resolved(model, "category_ids"),
        resolved(model, "class_names"),
        model.data_class_names or (),
        resolved(model, "num_classes"),
        exact=exact,
    )


def _metadata(model: ModelConfig, detection: DetectionConfig, table: ClassTable, mean_rgb: Rgb) -> dict[str, Any]:
    return {
        "task": "detection",
        "architecture": model.architecture,
        "quantization": model.quantization and dataclasses.asdict(model.quantization),
        "num_classes": model.num_classes,
        "class_names": list(table.names),
        "data_class_names": list(table.aliases) or None,
        "category_ids": list(table.ids),
        "exact_classes": detection.exact_classes,
        "anchors": dataclasses.asdict(detection.anchors),
        "coder": dataclasses.asdict(dataclasses.replace(detection.coder, largest_log=None)),
        "backbone": model.backbone,
        "image_size": model.image_size,
        "network": model.pretrained.network,
        "preprocessing": {"mean_rgb": list(mean_rgb), "std_rgb": [1.0, 1.0, 1.0], "range": [0, 255]},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesWithObjects:
    """The examples for detection: images with the boxes and classes of their objects."""

    config: ExperimentConfig
    detection: DetectionConfig
    splits: Mapping[str, SplitFiles]
    seed: int
    communicator: Communicator
    reader: Reader
    table: ClassTable

    def num_examples(self, split: str) -> int:
        if split in self.splits:
            examples = self.splits[split].examples
            return examples if split == "train" else -(-examples // self.config.data.eval_every)
        return SYNTHETIC_EPOCH_BATCHES * self.config.data.batch_size_per_replica * self.communicator.size

    def input_options(self) -> InputOptions:
        data = self.config.data
        return InputOptions(
            image_size=resolved(self.config.model, "image_size"),
            batch_size=data.batch_size_per_replica,
            num_classes=self.table.slot_count,
            label_offset=0,
            seed=self.seed,
            augmentation=self.detection.augmentation,
            threads=data.threads,
            shuffle=data.shuffle,
            shuffle_buffer=data.shuffle_buffer,
            eval_every=data.eval_every,
            scaled_decoding=data.scaled_decoding,
        )

    @without_autograph
    def input(self, split: str, shard: Shard, start: Position) -> Input:
        files, options = self.splits.get(split), self.input_options()
        if split == "train":
            options = dataclasses.replace(options, batch_size=self.config.images_per_step)
        decoder = detection_decoder(self.table, train_crowds=self.detection.train_crowds)
        if files is None:
            data = synthetic_input(options, synthetic_objects(self.table, split, options))
        elif split == "train":
            data = self.reader.train_input(files, decoder, options, shard, start)
        else:
            data = self.reader.eval_input(files, decoder, options, shard)
        return _in_few_rows(data) if split == "train" else data

    def preprocess(self, encoded: Any, size: int) -> Any:
        return preprocess_image(encoded, size)

    def describe_bad_example(self, split: str, index: int, status: int) -> str:
        del status  # the record itself tells
        path, number = self.splits[split].locate(index)
        fault = why_unusable(read_record(path, number), lambda features: fault_in(features, self.table))
        return f"{path}, record {number}: {fault}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A single-shot detector that ends in box codes [N, A, 4] and class logits [N, A, K]."""

    spec: SSDSpec
    layers: LayerOptions
    anchors_per_cell: int
    table: ClassTable
    mean_rgb: Rgb

    def normalize(self, images: Any) -> Any:
        return subtract_mean(images, self.mean_rgb)

    def forward(self, images: Any, *, training: bool) -> TensorMap:
        layers = dataclasses.replace(self.layers, training=training)
        used = None if training else self.table.slots  # unused slots are trained towards 0 and never detected
        return ssd(images, self.spec, self.anchors_per_cell, self.table.slot_count, layers, used_slots=used)

    def stored_names(self, stored: Mapping[str, Sequence[int]]) -> Mapping[str, str]:
        return by_name(stored)

    def by_zero_point(self) -> Detector:
        return dataclasses.replace(self, layers=self.layers.by_zero_point())

    def portable(self) -> Detector:
        return dataclasses.replace(self, layers=dataclasses.replace(self.layers, device="cpu"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Suppression:
    """The post-processing of box codes and class logits: decoding and non-maximum suppression.

    ``device`` is that of ``LayerOptions``.
    """

    anchors: np.ndarray
    detection: DetectionConfig
    table: ClassTable
    device: str = "cpu"
    ends = ("box_codes", "class_logits")
    is_costly = True
    prediction_names = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")

    def portable(self) -> Suppression:
        return dataclasses.replace(self, device="cpu")

    def predictions(self, endpoints: TensorMap) -> TensorMap:
        """Predictions with the names and types of TensorFlow's detection exports: float classes (from 1) and counts."""
        found = self._detections(endpoints)
        return {
            "detection_boxes": found.boxes,
            "detection_scores": found.scores,
            "detection_classes": tf.cast(self._category_ids(found), tf.float32),
            "num_detections": tf.cast(found.count, tf.float32),
        }

    def outputs(self, endpoints: TensorMap, targets: TensorMap) -> TensorMap:
        found = self._detections(endpoints)
        return {
            "detection_boxes": found.boxes,
            "detection_scores": found.scores,
            "detection_classes": self._category_ids(found),
            "num_detections": found.count,
            **targets,
        }

    def outputs_of(self, predictions: TensorMap, targets: TensorMap) -> TensorMap:
        whole = {name: tf.cast(predictions[name], tf.int32) for name in ("detection_classes", "num_detections")}
        return {**{name: predictions[name] for name in self.prediction_names}, **whole, **targets}

    def class_names_of(self, predictions: TensorMap) -> Any:
        """The class names of predictions, empty in the rows after an image's last object."""
        names = [""] * (max(self.table.ids) + 1)
        for category, name in zip(self.table.ids, self.table.names, strict=True):
            names[category] = name
        return tf.gather(tf.constant(names), tf.cast(predictions["detection_classes"], tf.int32))

    def _detections(self, endpoints: TensorMap) -> Detections:
        """Detections after suppression; all scores of an image are NaN if its outputs are not finite."""
        codes, logits = endpoints["box_codes"], endpoints["class_logits"]
        boxes = decode(codes, tf.constant(self.anchors), self.detection.coder)
        found = postprocess(boxes, logits, self.detection.post_processing, device=self.device)
        sums = tf.reduce_sum(codes, axis=[1, 2]) + tf.reduce_sum(logits, axis=[1, 2])  # not finite if any term is not
        sound = tf.math.is_finite(sums)
        return found._replace(
            scores=tf.where(sound[:, tf.newaxis], found.scores, float("nan")),
            count=tf.where(sound, found.count, tf.shape(found.scores)[1]),
        )

    def _category_ids(self, found: Detections) -> Any:
        """The id of each detection's category; 0 in the rows after the last."""
        ids = tf.gather(tf.constant(self.table.ids, tf.int32), found.classes)
        there = np.arange(ids.shape[1]) < tf.cast(found.count, tf.int64)[:, tf.newaxis]
        return tf.where(there, ids, 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectionTraining:
    """Anchor matching and the losses of box codes and classes."""

    anchors: np.ndarray
    cells: tuple[int, ...]
    detection: DetectionConfig
    backbone: str
    weight_decay_factor: float
    std_rgb: Rgb
    communicator: Communicator
    network: Detector

    def prepare(self, images: Any, batch: Batch, step: Any) -> tuple[Any, TensorMap]:
        groundtruth = Groundtruth(*(batch.targets[name] for name in _GROUNDTRUTH))
        anchors = tf.constant(self.anchors)
        targets = assign_targets(anchors, groundtruth, self.detection.matcher, self.detection.coder, self.cells)
        return images, targets._asdict()

    def forward(self, images: Any, targets: TensorMap) -> TensorMap:
        return self.network.forward(images, training=True)

    def losses(self, endpoints: TensorMap, targets: TensorMap, mask: Any, normalizer: Any = None) -> TensorMap:
        """Weighted sums over the anchors of all images, divided by the number of matched anchors in all processes.

        Source: Lin et al., Focal Loss, section 4.1, arXiv:1708.02002.
        """
        spec = self.detection.losses
        weights = targets["code_weights"] * mask[:, tf.newaxis]
        matched = self.normalizer(targets, mask) if normalizer is None else normalizer
        boxes = self._boxes(endpoints, targets) if spec.compares_boxes else None
        classification = self._class_loss(endpoints["class_logits"], targets, mask, boxes)
        localization = self._box_loss(endpoints["box_codes"], targets["codes"], boxes)
        return {
            "classification_loss": spec.classification_weight * classification / matched,
            "localization_loss": spec.localization_weight
            * tf.reduce_sum(localization * weights)
            / (matched * (CODE_SIZE if spec.box_loss == "huber" else 1)),
        }

    def _boxes(self, endpoints: TensorMap, targets: TensorMap) -> tuple[Any, Any]:
        """The predicted box and the target of each anchor, ``[N, A, 4]``; the target of others is the anchor."""
        coder = dataclasses.replace(self.detection.coder, largest_log=LARGEST_LOG)  # the first steps may exceed it
        anchors = tf.constant(self.anchors)
        return decode(endpoints["box_codes"], anchors, coder), decode(targets["codes"], anchors, coder)

    def _class_loss(self, logits: Any, targets: TensorMap, mask: Any, boxes: tuple[Any, Any] | None) -> Any:
        """The weighted sum over all anchors."""
        spec = self.detection.losses
        weights = targets["label_weights"] * mask[:, tf.newaxis]
        if spec.class_loss == "focal" or boxes is None:
            return focal_loss_of_slots(
                logits, targets["labels"], weights, alpha=spec.focal_alpha, gamma=spec.focal_gamma
            )
        qualities = tf.stop_gradient(aligned_iou(*boxes))
        return quality_focal_loss_of_slots(logits, targets["labels"], weights, qualities, beta=spec.focal_gamma)

    def _box_loss(self, codes: Any, targets: Any, boxes: tuple[Any, Any] | None) -> Any:
        """The loss of each anchor, ``[N, A]``."""
        spec = self.detection.losses
        if spec.box_loss == "huber" or boxes is None:
            return huber_loss(codes, targets, delta=spec.huber_delta)
        return LOSSES_OF_BOXES[spec.box_loss](*boxes)

    def normalizer(self, targets: TensorMap, mask: Any) -> Any:
        """The number of matched anchors, the mean over all processes."""
        weights = targets["code_weights"] * mask[:, tf.newaxis]
        return tf.maximum(self.communicator.average(tf.reduce_sum(weights)), 1.0 / self.communicator.size)

    chance = None
    """Unknown: each class begins at the probability that focal loss prefers, ``SSDSpec.class_bias``."""

    def weight_decay(self, variables: Sequence[Any]) -> WeightDecay:
        """The weight decay of kernels; biases and batch normalization, which are vectors, do not decay."""
        kernels = [v for v in variables if v.shape.rank > 1]
        return WeightDecay(kernels, self.weight_decay_factor)

    def part_of(self, name: str) -> Part:
        return part_of_detector(name)

    def depth_of(self, name: str) -> int:
        return 0

    def warm_start_map(self, stored: Mapping[str, Sequence[int]]) -> WarmStart:
        per_channel = 1.0 / np.asarray(self.std_rgb, np.float32)[:, np.newaxis]
        factors = {stem_kernel(BACKBONES[self.backbone]): per_channel} if own_classifier(stored) else {}
        sources = detector_sources(stored, self.backbone)
        provided = frozenset(sources) if backbone_of(stored) else None
        return WarmStart(sources=sources, factors=factors, replaceable=frozenset(CLASS_HEAD), provided=provided)


def _in_few_rows(data: Input) -> Input:
    """The training input with groundtruth of few different shapes."""
    few = in_few_rows(Groundtruth(*(data.batch.targets[name] for name in _GROUNDTRUTH)))
    targets = {**data.batch.targets, **dict(zip(_GROUNDTRUTH, few, strict=True))}
    return dataclasses.replace(data, batch=data.batch._replace(targets=targets))


def _network(model: ModelConfig, batch_norm_decay: float) -> SSDSpec:
    """The architecture with the configured backbone and batch-norm decay."""
    spec, backbone = SSDS[resolved(model, "architecture")], BACKBONES[resolved(model, "backbone")]
    backbone = backbone.as_trained(**model.pretrained.network)
    norms = [dataclasses.replace(part.batch_norm, decay=batch_norm_decay) for part in (spec, backbone)]
    spec = dataclasses.replace(spec, batch_norm=norms[0])
    return spec.with_backbone(dataclasses.replace(backbone, batch_norm=norms[1]))
