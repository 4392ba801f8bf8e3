"""Object detection: the only module that combines network, boxes, data and loss of this task.

Shape symbols: N batch, A anchors, K class slots.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from model.checkpoint_names import own_classifier, stem_kernel
from model.layers.options import LayerOptions
from model.specs import BACKBONES, SSDS, Part, SSDSpec
from model.ssd import ssd
from model.variable_groups import part_of_detector
from model.warm_start import CLASS_HEAD, backbone_of, detector_sources
from object_detection.augmentation.mixing import ObjectMixing, steps_with_mosaics
from object_detection.boxes.anchors import cells_of_levels, pyramid_anchors
from object_detection.boxes.box_distribution import expected_distances
from object_detection.class_table import ClassTable, class_table
from object_detection.coco.evaluation import CocoEvaluator
from object_detection.groundtruth import Groundtruth
from object_detection.input.images_with_objects import GROUNDTRUTH, ImagesWithObjects
from object_detection.losses.detection_losses import DetectionLosses
from object_detection.matching.target_assigner import assign_targets
from object_detection.postprocessing.endpoints import suppression_of
from object_detection.postprocessing.tile_merging import merge_tiles
from object_detection.presenter import BoxPresenter
from object_detection.records.object_records import MASK_KEY, has_masks
from runtime.detection.resolve_detector import DEFAULT_BACKBONE
from runtime.inference.mirroring import Mirrored, anchors_of_both, boxes_of_both
from runtime.planning.plan import length_in_steps
from runtime.task import Metrics, Task, TensorMap, WarmStart
from utils.config import ExperimentConfig, ModelConfig, resolved
from utils.data_utils import Reader, TensorFlowReader
from utils.detection_config import NORMS, STRETCH, TASK_ALIGNED, DetectionConfig
from utils.errors import UsageError
from utils.hvd_utils import Communicator, SerialCommunicator
from utils.image_processing import normalized_range, subtract_mean
from utils.image_sizes import aspect_of, sides_of
from utils.input.batching import Batch
from utils.optimizers import WeightDecay
from utils.records.split_files import SplitFiles
from utils.weights.checkpoint_contents import by_name
from utils.weights.pretrained_config import DETECTION_MEAN_RGB, MEAN_RGB, STD_RGB, Rgb


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
    anchors = pyramid_anchors(*sides_of(size), detection.anchors)
    mean_rgb = model.pretrained.mean_rgb or (DETECTION_MEAN_RGB if model.backbone == DEFAULT_BACKBONE else MEAN_RGB)
    network = _detector(model, detection, table, mean_rgb, layers)
    mirrors = config.prediction.test_time_augmentation
    seen = anchors_of_both(anchors) if mirrors else anchors
    last = suppression_of(detection, table, size, seen, layers.device)
    both = functools.partial(boxes_of_both, ends=last.ends, distances=detection.heads.distribution)
    data = ImagesWithObjects(
        config=config,
        detection=detection,
        splits=splits,
        seed=seed,
        communicator=communicator,
        reader=reader,
        table=table,
        mean_rgb=mean_rgb,
    )
    return Task(
        data=data,
        network=Mirrored(network, both) if mirrors else network,
        post_processing=last,
        training=_training(config, anchors, network, data),
        metrics=_metrics(config, table),
        presenter=BoxPresenter(dict(zip(table.ids, table.names, strict=True)), config.run.min_score),
        metadata=_metadata(model, detection, table, mean_rgb),
        merge_tiles=functools.partial(merge_tiles, spec=detection.post_processing, min_score=config.run.min_score),
    )


def _training(
    config: ExperimentConfig, anchors: np.ndarray, network: Detector, data: ImagesWithObjects
) -> DetectionTraining:
    model, detection, size = config.model, resolved(config, "detection"), resolved(config.model, "image_size")
    _, total_steps = length_in_steps(config, data.num_examples("train"), data.communicator.size)
    return DetectionTraining(
        anchors=anchors,
        aligned_from=detection.matcher.aligned_from(total_steps),
        cells=cells_of_levels(*sides_of(size), detection.anchors),
        aspect=aspect_of(size),
        detection=detection,
        backbone=resolved(model, "backbone"),
        weight_decay_factor=config.optimizer.weight_decay,
        std_rgb=model.pretrained.std_rgb or STD_RGB,
        communicator=data.communicator,
        network=network,
        mixing=_mixing(data, total_steps) if detection.augment.mixes else None,
    )


def _mixing(data: ImagesWithObjects, total_steps: int) -> ObjectMixing:
    if data.detection.augment.copy_paste and not has_masks(data.splits["train"]):
        raise UsageError(
            f"--copy_paste {data.detection.augment.copy_paste:g}: the training records have no masks ({MASK_KEY}); "
            "convert them with --include_masks"
        )
    return ObjectMixing(augment=data.detection.augment, mosaic_steps=steps_with_mosaics(total_steps))


def _metrics(config: ExperimentConfig, table: ClassTable) -> Metrics:
    categories, quick = list(zip(table.ids, table.names, strict=True)), config.run.mode != "evaluate"
    return Metrics(best="Precision/mAP", evaluator=lambda: CocoEvaluator(categories, quick=quick))


def _detector(
    model: ModelConfig, detection: DetectionConfig, table: ClassTable, mean_rgb: Rgb, layers: LayerOptions
) -> Detector:
    return Detector(
        spec=_network(model, detection),
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
        "heads": dataclasses.asdict(detection.heads),
        "backbone": model.backbone,
        **({} if detection.norm in (None, NORMS[0]) else {"norm": detection.norm}),
        "image_size": model.image_size,
        "resize": detection.resize or STRETCH,
        "network": model.pretrained.network,
        "preprocessing": {"mean_rgb": list(mean_rgb), "std_rgb": [1.0, 1.0, 1.0], "range": [0, 255]},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A single-shot detector that ends in box codes [N, A, 4], class logits [N, A, K] and those of further heads."""

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
        endpoints = ssd(images, self.spec, self.anchors_per_cell, self.table.slot_count, layers, used_slots=used)
        if self.spec.distribution:
            endpoints["box_codes"] = expected_distances(endpoints["box_logits"])
        return endpoints

    def stored_names(self, stored: Mapping[str, Sequence[int]]) -> Mapping[str, str]:
        return by_name(stored)

    def by_zero_point(self) -> Detector:
        return dataclasses.replace(self, layers=self.layers.by_zero_point())

    def portable(self) -> Detector:
        return dataclasses.replace(self, layers=dataclasses.replace(self.layers, device="cpu"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectionTraining:
    """Anchor matching and the losses; predictions match from step ``aligned_from`` on, if they do at all.

    ``aspect`` is width over height of the images.
    """

    anchors: np.ndarray
    cells: tuple[int, ...]
    aspect: float
    aligned_from: int
    detection: DetectionConfig
    backbone: str
    weight_decay_factor: float
    std_rgb: Rgb
    communicator: Communicator
    network: Detector
    mixing: ObjectMixing | None = None

    def prepare(self, images: Any, batch: Batch, step: Any) -> tuple[Any, TensorMap]:
        groundtruth, changed = Groundtruth(*(batch.targets[name] for name in GROUNDTRUTH)), {}
        if self.mixing is not None:
            images, groundtruth = self.mixing(images, groundtruth, batch, step)
            changed = dict(zip(GROUNDTRUTH, groundtruth, strict=True))
        anchors = tf.constant(self.anchors)
        matcher, coder = self.detection.matcher, self.detection.coder
        found = assign_targets(anchors, groundtruth, matcher, coder, self.cells, self.aspect)._asdict() | changed
        if matcher.kind != TASK_ALIGNED:
            return images, found
        aligned = tf.cast(step >= self.aligned_from, tf.float32) * tf.ones_like(batch.mask)
        objects = {f"objects_{name}": value for name, value in groundtruth._asdict().items()}
        return images, {**found, **objects, "aligned": aligned}

    def forward(self, images: Any, targets: TensorMap) -> TensorMap:
        return self.network.forward(images, training=True)

    def losses(self, endpoints: TensorMap, targets: TensorMap, mask: Any, normalizer: Any = None) -> TensorMap:
        """Weighted sums over the anchors of all images, divided by the number of matched anchors in all processes.

        Source: Lin et al., Focal Loss, section 4.1, arXiv:1708.02002.
        """
        terms = DetectionLosses(anchors=self.anchors, aspect=self.aspect, detection=self.detection)
        targets = terms.settled(endpoints, targets)
        matched = self.normalizer(targets, mask) if normalizer is None else normalizer
        return terms.losses(endpoints, targets, mask, matched)

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


def _network(model: ModelConfig, detection: DetectionConfig) -> SSDSpec:
    """The architecture with the configured backbone, normalization and heads."""
    spec, backbone = SSDS[resolved(model, "architecture")], BACKBONES[resolved(model, "backbone")]
    backbone = backbone.as_trained(**model.pretrained.network)
    norms = [dataclasses.replace(part.batch_norm, decay=detection.batch_norm_decay) for part in (spec, backbone)]
    heads = dataclasses.asdict(detection.heads)
    spec = dataclasses.replace(spec, batch_norm=norms[0], norm=detection.norm or NORMS[0], **heads)
    return spec.with_backbone(dataclasses.replace(backbone, batch_norm=norms[1]))
