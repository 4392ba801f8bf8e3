"""The examples of a classifier."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from utils.config import SYNTHETIC_EPOCH_BATCHES, ExperimentConfig, resolved
from utils.data_utils import Reader, synthetic_input
from utils.hvd_utils import Communicator
from utils.image_processing import eval_preprocess
from utils.image_sizes import EVAL_CROP, ImageSize, side_of
from utils.input.balanced_order import Balance
from utils.input.batching import Input, InputOptions, Position, Shard, without_autograph
from utils.input.labelled_images import LABELLED_IMAGES, images_with_labels
from utils.records.label_index import split_labels
from utils.records.label_records import LabelRange
from utils.records.record_rules import why_unusable
from utils.records.split_files import SplitFiles
from utils.records.tfrecord_file import read_record


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
