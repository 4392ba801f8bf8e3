"""The examples for detection: images with objects, from records or synthetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from object_detection.augmentation.mixing import synthetic_mixing_targets
from object_detection.augmentation.preprocessing import preprocess_image
from object_detection.class_table import ClassTable
from object_detection.groundtruth import Groundtruth, in_few_rows
from object_detection.input.input_pipeline import detection_decoder
from object_detection.input.synthetic_objects import synthetic_objects
from object_detection.records.mask_rules import fault_of_masks
from object_detection.records.object_records import fault_in
from utils.config import SYNTHETIC_EPOCH_BATCHES, ExperimentConfig, resolved
from utils.data_utils import Reader, synthetic_input
from utils.detection_config import DetectionConfig
from utils.hvd_utils import Communicator
from utils.image_sizes import ImageSize
from utils.input.augmentation_specs import ScaleSpec, detection_steps
from utils.input.batching import Input, InputOptions, Position, Shard, without_autograph
from utils.records.record_rules import Features, RecordFault, why_unusable
from utils.records.split_files import SplitFiles
from utils.records.tfrecord_file import read_record
from utils.weights.pretrained_config import Rgb

GROUNDTRUTH = ("groundtruth_boxes", "groundtruth_slots", "groundtruth_weights", "groundtruth_ignored")
"""The targets of training that are the fields of ``groundtruth.Groundtruth``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesWithObjects:
    """The examples for detection: images with the boxes and classes of their objects.

    ``mean_rgb`` is the color around images that do not fill the network's input, which sees it as zero.
    """

    config: ExperimentConfig
    detection: DetectionConfig
    splits: Mapping[str, SplitFiles]
    seed: int
    communicator: Communicator
    reader: Reader
    table: ClassTable
    mean_rgb: Rgb

    def num_examples(self, split: str) -> int:
        if split in self.splits:
            examples = self.splits[split].examples
            return examples if split == "train" else -(-examples // self.config.data.eval_every)
        return SYNTHETIC_EPOCH_BATCHES * self.config.data.batch_size_per_replica * self.communicator.size

    def input_options(self) -> InputOptions:
        data, size = self.config.data, resolved(self.config.model, "image_size")
        return InputOptions(
            image_size=size,
            batch_size=data.batch_size_per_replica,
            num_classes=self.table.slot_count,
            label_offset=0,
            seed=self.seed,
            augmentation=detection_steps(
                self.detection.augmentation,
                self.detection.augment,
                random_erasing=data.augment.random_erasing,
                fit=size if self.detection.pads else None,
            ),
            border=self._border,
            threads=data.threads,
            shuffle=data.shuffle,
            shuffle_buffer=data.shuffle_buffer,
            eval_every=data.eval_every,
            scaled_decoding=data.scaled_decoding,
        )

    @property
    def _border(self) -> Rgb | None:
        """The color around images that keep their proportions; None if they are stretched."""
        return self.mean_rgb if self.detection.pads else None

    def _train_options(self) -> InputOptions:
        options = self.input_options()
        smaller = any(isinstance(step, ScaleSpec) and step.pads for step in options.augmentation)
        border = self.mean_rgb if smaller else options.border
        return dataclasses.replace(options, batch_size=self.config.images_per_step, border=border)

    @without_autograph
    def input(self, split: str, shard: Shard, start: Position) -> Input:
        files, detection = self.splits.get(split), self.detection
        options = self._train_options() if split == "train" else self.input_options()
        decoder = detection_decoder(self.table, train_crowds=detection.train_crowds, augment=detection.augment)
        if files is None:
            targets = synthetic_objects(self.table, split, options)
            if split == "train":
                targets |= synthetic_mixing_targets(detection.augment, options)
            data = synthetic_input(options, targets)
        elif split == "train":
            data = self.reader.train_input(files, decoder, options, shard, start)
        else:
            data = self.reader.eval_input(files, decoder, options, shard)
        return _in_few_rows(data) if split == "train" else data

    def preprocess(self, encoded: Any, size: ImageSize) -> Any:
        return preprocess_image(encoded, size, self._border)

    def describe_bad_example(self, split: str, index: int, status: int) -> str:
        del status  # the record itself tells
        path, number = self.splits[split].locate(index)
        fault = why_unusable(read_record(path, number), self._fault_in)
        return f"{path}, record {number}: {fault}"

    def _fault_in(self, features: Features) -> RecordFault | None:
        fault = fault_in(features, self.table)
        return fault_of_masks(features) if fault is None and self.detection.augment.copy_paste else fault


def _in_few_rows(data: Input) -> Input:
    """The training input with groundtruth of few different shapes."""
    few = in_few_rows(Groundtruth(*(data.batch.targets[name] for name in GROUNDTRUTH)))
    targets = {**data.batch.targets, **dict(zip(GROUNDTRUTH, few, strict=True))}
    return dataclasses.replace(data, batch=data.batch._replace(targets=targets))
