"""Object detection: the only place that knows network, boxes, data and loss of this task together."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from model.checkpoint_names import OWN_CLASSIFIER, is_own_classifier
from model.layers.options import LayerOptions
from model.specs import BACKBONES, SSDS, SSDSpec
from model.ssd import ssd
from model.variable_groups import part_of_detector
from model.warm_start import CLASS_HEAD, STEM_KERNEL, detector_sources
from object_detection.anchors import pyramid_anchors
from object_detection.box_coder import decode
from object_detection.class_table import class_table
from object_detection.coco.evaluation import CocoEvaluator
from object_detection.input_pipeline import detection_decoder
from object_detection.losses import focal_loss_of_slots, huber_loss
from object_detection.postprocessing import Detections, postprocess
from object_detection.preprocessing import preprocess_image
from object_detection.presenter import BoxPresenter
from object_detection.record_faults import fault_in, uneven_lists
from object_detection.synthetic_objects import synthetic_objects
from object_detection.target_assigner import Groundtruth, assign_targets
from runtime.task import Part, WarmStart
from utils.config import SYNTHETIC_EPOCH_BATCHES, ExperimentConfig, ModelConfig, resolved
from utils.data_utils import Reader, TensorFlowReader, synthetic_input
from utils.hvd_utils import Communicator, SerialCommunicator
from utils.image_processing import normalized_range, subtract_mean
from utils.input.batching import STATUS_BAD_LABEL, Batch, Input, InputOptions, Position, Shard, make_input
from utils.optimizers import l2_loss
from utils.records.manifest import SplitFiles
from utils.records.tfrecord_file import read_record
from utils.weights.pretrained_config import DETECTION_MEAN_RGB, MEAN_RGB, STD_RGB

TensorMap = dict[str, Any]


class Detection:
    """The detection task of a resolved configuration.

    Args:
        config: Architecture, classes with their ids, backbone, image size and the detection part are set.
        splits: Files by split; a split without any is synthetic.
        seed: Seed of everything random.
        layers: How the network's layers are built; ``training`` is set here.
        communicator: The processes that train together.
        reader: What reads the records.
    """

    metric = "Precision/mAP"
    heads = ends = ("box_codes", "class_logits")
    prediction_names = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")

    def __init__(
        self,
        config: ExperimentConfig,
        splits: Mapping[str, SplitFiles],
        seed: int,
        layers: LayerOptions,
        communicator: Communicator | None = None,
        reader: Reader | None = None,
    ) -> None:
        self._config = config
        self._model = config.model
        self._detection = resolved(config, "detection")
        self._splits = splits
        self._seed = seed
        self._communicator = communicator or SerialCommunicator()
        self._reader = reader or TensorFlowReader()
        self._table = class_table(
            resolved(self._model, "category_ids"),
            resolved(self._model, "class_names"),
            self._model.data_class_names or (),
            resolved(self._model, "num_classes"),
            exact=self._detection.exact_classes,
        )
        self.num_classes: int = self._table.slot_count
        self._spec = _network(self._model, self._detection.batch_norm_decay)
        size = resolved(self._model, "image_size")
        self._anchors = pyramid_anchors(size, size, self._detection.anchors)
        usual_mean = MEAN_RGB if self._model.backbone == OWN_CLASSIFIER else DETECTION_MEAN_RGB
        self._mean_rgb = self._model.pretrained.mean_rgb or usual_mean
        self._layers = dataclasses.replace(
            layers,
            input_range=normalized_range(self._mean_rgb, (1.0, 1.0, 1.0)),
        )

    def num_examples(self, split: str) -> int:
        if split in self._splits:
            examples = self._splits[split].examples
            return examples if split == "train" else -(-examples // self._config.data.eval_every)
        return SYNTHETIC_EPOCH_BATCHES * self._config.data.batch_size_per_replica * self._communicator.size

    def input_options(self) -> InputOptions:
        """How the examples of this task are read."""
        data = self._config.data
        return InputOptions(
            image_size=resolved(self._model, "image_size"),
            batch_size=data.batch_size_per_replica,
            num_classes=self.num_classes,
            label_offset=0,
            seed=self._seed,
            augmentation=self._detection.augmentation,
            threads=data.threads,
            shuffle_buffer=data.shuffle_buffer,
            eval_every=data.eval_every,
        )

    def input(self, split: str, shard: Shard, start: Position) -> Input:
        files, options = self._splits.get(split), self.input_options()
        if files is None:
            return synthetic_input(options, synthetic_objects(self._table, split, options))
        decoder = detection_decoder(self._table, train_crowds=self._detection.train_crowds)
        if split == "train":
            return make_input(self._reader.train_batches(files, decoder, options, shard, start))
        return make_input(self._reader.eval_batches(files, decoder, options, shard))

    def describe_bad_example(self, split: str, index: int, status: int) -> str:
        path, number = self._splits[split].locate(index)
        where = f"{path}, record {number}"
        serialized = read_record(path, number)
        if status == STATUS_BAD_LABEL:
            return f"{where}: {fault_in(serialized, self._table)}"
        return f"{where}: {uneven_lists(serialized) or 'the image does not decode'}"

    def preprocess(self, encoded: Any, size: int) -> Any:
        return preprocess_image(encoded, size)

    def normalize(self, images: Any) -> Any:
        return subtract_mean(images, self._mean_rgb)

    def prepare(self, batch: Batch, step: Any) -> tuple[Any, TensorMap]:
        given = batch.targets
        groundtruth = Groundtruth(
            boxes=given["groundtruth_boxes"],
            labels=given["groundtruth_slots"],
            weights=given["groundtruth_weights"],
            ignored=given["groundtruth_ignored"],
        )
        anchors = tf.constant(self._anchors)
        targets = assign_targets(anchors, groundtruth, self._detection.matcher, self._detection.coder)
        return self.normalize(batch.images), targets._asdict()

    def forward(self, images: Any, *, training: bool) -> TensorMap:
        layers = dataclasses.replace(self._layers, training=training)
        used = None if training else self._table.slots  # what no category has is trained towards 0, and never detected
        per_cell = self._detection.anchors.per_cell
        return ssd(images, self._spec, per_cell, self.num_classes, layers, used_slots=used)

    def losses(self, endpoints: TensorMap, targets: TensorMap, mask: Any) -> TensorMap:
        """Sums over the anchors of all images, divided by the number of matched ones of all processes, as weighted.

        Source: Lin et al., Focal Loss, section 4.1, arXiv:1708.02002.
        """
        spec = self._detection.losses
        weights = targets["code_weights"] * mask[:, tf.newaxis]
        matched = tf.maximum(self._communicator.average(tf.reduce_sum(weights)), 1.0 / self._communicator.size)
        classification = focal_loss_of_slots(
            endpoints["class_logits"],
            targets["labels"],
            targets["label_weights"] * mask[:, tf.newaxis],
            alpha=spec.focal_alpha,
            gamma=spec.focal_gamma,
        )
        localization = huber_loss(endpoints["box_codes"], targets["codes"], delta=spec.huber_delta)
        code_size = targets["codes"].shape[2]
        return {
            "classification_loss": spec.classification_weight * classification / matched,
            "localization_loss": spec.localization_weight
            * tf.reduce_sum(localization * weights)
            / (matched * code_size),
        }

    def part_of(self, name: str) -> Part:
        return part_of_detector(name)

    def weight_decay(self, variables: Sequence[Any]) -> Any:
        """Of convolution kernels alone: biases and batch normalization do not decay."""
        kernels = [v for v in variables if v.op.name.endswith("/weights")]
        return l2_loss(kernels, self._config.optimizer.weight_decay)

    def outputs(self, endpoints: TensorMap, targets: TensorMap) -> TensorMap:
        found = self._detections(endpoints)
        return {
            "detection_boxes": found.boxes,
            "detection_scores": found.scores,
            "detection_classes": self._category_ids(found),
            "num_detections": found.count,
            **targets,
        }

    def predictions(self, endpoints: TensorMap) -> TensorMap:
        """The names and types of TensorFlow's detection exports: classes and numbers are floats, classes from 1 on."""
        found = self._detections(endpoints)
        return {
            "detection_boxes": found.boxes,
            "detection_scores": found.scores,
            "detection_classes": tf.cast(self._category_ids(found), tf.float32),
            "num_detections": tf.cast(found.count, tf.float32),
        }

    def class_names_of(self, predictions: TensorMap) -> Any:
        """Empty in the rows after an image's last object."""
        names = [""] * (max(self._table.ids) + 1)
        for category, name in zip(self._table.ids, self._table.names, strict=True):
            names[category] = name
        return tf.gather(tf.constant(names), tf.cast(predictions["detection_classes"], tf.int32))

    def endpoints_of(self, ends: TensorMap) -> TensorMap:
        return ends

    def outputs_of(self, found: TensorMap, targets: TensorMap) -> TensorMap:
        whole = {name: tf.cast(found[name], tf.int32) for name in ("detection_classes", "num_detections")}
        return {**{name: found[name] for name in self.prediction_names}, **whole, **targets}

    def _detections(self, endpoints: TensorMap) -> Detections:
        """What post-processing finds; NaN scores in all rows of an image for which the network gave no numbers."""
        codes, logits = endpoints["box_codes"], endpoints["class_logits"]
        boxes = decode(codes, tf.constant(self._anchors), self._detection.coder)
        found = postprocess(boxes, logits, self._detection.post_processing)
        sums = tf.reduce_sum(codes, axis=[1, 2]) + tf.reduce_sum(logits, axis=[1, 2])  # not finite if any term is not
        sound = tf.math.is_finite(sums)
        return found._replace(
            scores=tf.where(sound[:, tf.newaxis], found.scores, float("nan")),
            count=tf.where(sound, found.count, tf.shape(found.scores)[1]),
        )

    def _category_ids(self, found: Detections) -> Any:
        """The id of each detection's category; 0 in the rows after the last."""
        ids = tf.gather(tf.constant(self._table.ids, tf.int32), found.classes)
        there = tf.range(tf.shape(ids)[1]) < found.count[:, tf.newaxis]
        return tf.where(there, ids, 0)

    def with_fake_quant(self) -> Detection:
        quantization = self._layers.quantization and self._layers.quantization.by_zero_point()
        other = copy.copy(self)
        other._layers = dataclasses.replace(self._layers, quantization=quantization)
        return other

    def evaluator(self) -> CocoEvaluator:
        return CocoEvaluator(list(zip(self._table.ids, self._table.names, strict=True)))

    def presenter(self) -> BoxPresenter:
        return BoxPresenter(dict(zip(self._table.ids, self._table.names, strict=True)), self._config.run.min_score)

    def stored_names(self, stored: Mapping[str, Sequence[int]]) -> Mapping[str, str]:
        return {name: name for name in stored}

    def warm_start_map(self, stored: Mapping[str, Sequence[int]]) -> WarmStart:
        names = detector_sources(stored)
        per_channel = 1.0 / np.asarray(self._model.pretrained.std_rgb or STD_RGB, np.float32)[:, np.newaxis]
        factors = {STEM_KERNEL: per_channel} if is_own_classifier(stored) else {}
        return WarmStart(sources=names, factors=factors, replaceable=frozenset(CLASS_HEAD))

    def metadata(self) -> dict[str, Any]:
        return {
            "task": "detection",
            "architecture": self._model.architecture,
            "quantization": self._model.quantization and dataclasses.asdict(self._model.quantization),
            "num_classes": self._model.num_classes,
            "class_names": list(self._table.names),
            "data_class_names": list(self._table.aliases) or None,
            "category_ids": list(self._table.ids),
            "exact_classes": self._detection.exact_classes,
            "anchors": dataclasses.asdict(self._detection.anchors),
            "coder": dataclasses.asdict(dataclasses.replace(self._detection.coder, largest_log=None)),
            "backbone": self._model.backbone,
            "image_size": self._model.image_size,
            "network": self._model.pretrained.network,
            "preprocessing": {"mean_rgb": list(self._mean_rgb), "std_rgb": [1.0, 1.0, 1.0], "range": [0, 255]},
        }


def _network(model: ModelConfig, batch_norm_decay: float) -> SSDSpec:
    """The row of the table, with the backbone and the decay of statistics that were asked for."""
    spec, backbone = SSDS[resolved(model, "architecture")], BACKBONES[resolved(model, "backbone")]
    backbone = backbone.as_trained(**model.pretrained.network)
    norms = [dataclasses.replace(part.batch_norm, decay=batch_norm_decay) for part in (spec, backbone)]
    return dataclasses.replace(spec, batch_norm=norms[0], backbone=dataclasses.replace(backbone, batch_norm=norms[1]))
