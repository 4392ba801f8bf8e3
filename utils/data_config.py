"""The data of a run: its source, batches, order and augmentation. Imports no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, field

from utils.augment_config import AugmentConfig
from utils.errors import UsageError, require
from utils.image_sizes import TrainSize, TrainSizes, check_train_sizes
from utils.input.augmentation_specs import AugmentationStep, classification_steps
from utils.number_rules import is_fraction

SOURCES = ("tfrecord", "dali", "synthetic")
BUFFER, INDEX = "buffer", "index"
SHUFFLES = (BUFFER, INDEX)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The source of the examples and how they are read; ``index_dir`` holds DALI's index files.

    The globs ``train_files`` and ``validation_files`` replace ``data_dir``. Evaluation reads every ``eval_every``-th
    example of the split ``eval_split``. With ``folds``, the training split is divided into as many; ``fold`` is held
    out, and evaluated in place of the validation split. ``balanced_sampling`` draws training examples by class, with
    ``balanced_power`` of ``utils.input.balanced_order``. Training shuffles images in a buffer, or the index of the
    records: ``shuffle``. Training images of classifiers have the size of the network's input unless
    ``train_image_size`` or, in the course of a run, ``progressive_sizes`` says otherwise.
    With ``auto_batch``, ``batch_size_per_replica`` is still to be measured: the largest batch that fits in memory.
    """

    source: str = "tfrecord"
    data_dir: str | None = None
    index_dir: str | None = None
    train_files: tuple[str, ...] = ()
    validation_files: tuple[str, ...] = ()
    label_map_file: str | None = None
    eval_split: str = "validation"
    eval_every: int = 1
    folds: int | None = None
    fold: int | None = None
    batch_size_per_replica: int = 32
    auto_batch: bool = False
    class_names_file: str | None = None
    min_crop_area: float = 0.08
    color_jitter: float = 0.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    max_bad_records: int = 0
    shuffle: str = BUFFER
    shuffle_buffer: int = 4096
    threads: int | None = None
    scaled_decoding: bool = False
    balanced_sampling: bool = False
    balanced_power: float = 1.0
    train_image_size: int | None = None
    progressive_sizes: TrainSizes = ()

    def __post_init__(self) -> None:
        require(self.source in SOURCES, "data_dir", self.source, f"one of {', '.join(SOURCES)}")
        require(self.batch_size_per_replica > 0, "batch_size", self.batch_size_per_replica, "a positive integer")
        require(0.0 < self.min_crop_area <= 1.0, "min_crop_area", self.min_crop_area, "above 0 and at most 1")
        require(is_fraction(self.color_jitter), "color_jitter", self.color_jitter, "at least 0 and at most 1")
        largest = self.augment.max_crop_area
        require(
            largest >= self.min_crop_area, "max_crop_area", largest, f"at least --min_crop_area {self.min_crop_area}"
        )
        require(self.shuffle in SHUFFLES, "shuffle", self.shuffle, f"one of {', '.join(SHUFFLES)}")
        require(self.max_bad_records >= 0, "max_bad_records", self.max_bad_records, "0 or more")
        self._check_folds()
        self._check_order()
        if self.source == "synthetic" and self.data_dir is not None:
            raise UsageError(f"--data_dir {self.data_dir}: synthetic data is used only when no --data_dir is given")
        if self.source == "dali" and self.scaled_decoding:
            raise UsageError("--scaled_decoding: DALI decodes at full size only; leave out this flag or --dali")
        check_train_sizes(self.train_image_size, self.progressive_sizes)

    def _check_order(self) -> None:
        require(is_fraction(self.balanced_power), "balanced_power", self.balanced_power, "at least 0 and at most 1")
        if self.balanced_power != 1.0 and not self.balanced_sampling:
            raise UsageError(
                f"--balanced_power {self.balanced_power:g}: only used with --balanced_sampling, which is not given"
            )
        if not self.balanced_sampling:
            return
        if self.shuffle == INDEX:
            raise UsageError(
                f"--shuffle {INDEX}: --balanced_sampling draws the order of the images; leave one of them out"
            )
        if self.augment.repeated_augmentation > 1:
            raise UsageError(
                f"--repeated_augmentation {self.augment.repeated_augmentation}: --balanced_sampling draws the order of "
                "the images; leave one of them out"
            )

    def _check_folds(self) -> None:
        if self.folds is None:
            if self.fold is not None:
                raise UsageError(f"--fold {self.fold}: only used with --folds, which is not given")
            return
        require(self.folds >= 2, "folds", self.folds, "2 or more")
        allowed = f"0 to {self.folds - 1}, the fold that is held out"
        if self.fold is None:
            raise UsageError(f"--folds {self.folds}: needs --fold, {allowed}")
        require(0 <= self.fold < self.folds, "fold", self.fold, allowed)

    @property
    def augmentation(self) -> tuple[AugmentationStep, ...]:
        """The augmentation steps for classification; ``DetectionConfig`` holds those for detection."""
        return classification_steps(
            min_crop_area=self.min_crop_area, color_jitter=self.color_jitter, augment=self.augment
        )

    def train_sizes(self, image_size: int) -> TrainSizes:
        """The sizes of training images in the course of a run, for a network whose input has ``image_size`` pixels."""
        return self.progressive_sizes or (TrainSize(self.train_image_size or image_size, 0.0),)
