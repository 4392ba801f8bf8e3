"""Options of a run stored beside its weights, and checks for later launches with other options."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

from utils.config import ExperimentConfig
from utils.detection_config import DetectionConfig
from utils.errors import UsageError
from utils.image_sizes import text_of_train_sizes
from utils.object_augment_config import text_of_scales
from utils.optimizer_table import DEFAULT_OPTIMIZER, OPTIMIZERS, optimizer_of
from utils.text import first_few
from utils.weights.checkpoint_contents import stored_shapes

_log = logging.getLogger(__name__)
_TUNING, _OPTIMIZER, _SCHEDULE, _FOLDS = "tuning", "optimizer", "schedule", "folds"
_OF_OPTIMIZER = (
    "beta2",
    "epsilon",
    "clip_norm",
    "adaptive_clip",
    "no_bias_decay",
    "recipe_batch",
    "scale_recipe",
    "lr_warmup_start",
    "lr_final",
    "loss",
    "bce_target_threshold",
    "focal_gamma",
    "accumulate_steps",
    "stochastic_depth",
    "dropout",
)
"""Fields of ``OptimizerConfig`` that are flags of the same name."""


_OF_DATA = ("balanced_sampling", "balanced_power", "shuffle", "train_image_size")
"""The same of ``DataConfig``."""
_OF_DETECTOR = {
    "matcher": "matcher.kind",
    "task_aligned_after": "matcher.aligned_after",
    "box_loss": "losses.box_loss",
    "class_loss": "losses.class_loss",
    "box_loss_weight": "losses.localization_weight",
    "class_loss_weight": "losses.classification_weight",
    "distribution_loss_weight": "losses.distribution_weight",
    "centerness_loss_weight": "losses.centerness_weight",
    **{flag: f"augment.{flag}" for flag in ("vertical_flip", "rotate90", "min_visible", "mosaic", "copy_paste")},
}
"""Flags of detectors by their field of ``DetectionConfig``."""


def options_to_store(config: ExperimentConfig) -> dict[str, Any]:
    """Entries for the description of a checkpoint: the schedule, and options that do not have their defaults."""
    now, usual = _options(config), _options(ExperimentConfig())
    entries: dict[str, Any] = {_SCHEDULE: config.optimizer.schedule}
    if config.optimizer.name != DEFAULT_OPTIMIZER:
        entries[_OPTIMIZER] = config.optimizer.name
    if config.data.folds is not None:
        entries[_FOLDS] = _folds(config)
    if unusual := {name: now[name] for name in now if now[name] != usual[name]}:
        entries[_TUNING] = unusual
    return entries


def numbers_to_store(config: ExperimentConfig, learning_rate: float) -> dict[str, Any]:
    """The entry for the description of a checkpoint with the numbers of its optimizer and the peak learning rate."""
    optimizer, row = config.optimizer, OPTIMIZERS[config.optimizer.name]
    numbers = {name: getattr(optimizer, name) or getattr(row, name) for name in ("beta2", "epsilon", "clip_norm")}
    numbers |= {"learning_rate": learning_rate, "momentum": optimizer.momentum, "weight_decay": optimizer.weight_decay}
    return {"update": numbers}


def changed_options(config: ExperimentConfig, metadata: Mapping[str, Any]) -> list[str]:
    """A sentence for each option that differs from the one at the start of the run."""
    before: Mapping[str, Any] = _options(ExperimentConfig()) | metadata.get(_TUNING, {})
    now = _options(config)
    if _SCHEDULE in metadata:  # earlier checkpoints do not tell
        before, now = {**before, _SCHEDULE: metadata[_SCHEDULE]}, {**now, _SCHEDULE: config.optimizer.schedule}
    return [
        f"--{name}: {_shown(before[name])} so far in this run, {_shown(value)} from here on"
        for name, value in now.items()
        if before[name] != value
    ]


def check_optimizer(config: ExperimentConfig, checkpoint: Path, metadata: Mapping[str, Any]) -> None:
    """Checks that training continues with the optimizer whose state is in the checkpoint.

    Raises:
        UsageError: The optimizer is another one.
    """
    if not config.run.is_training:
        return
    former, asked = metadata.get(_OPTIMIZER), config.optimizer.name
    # The default and other programs store no entry; there, the slots identify the optimizer.
    if former is None and (asked != DEFAULT_OPTIMIZER or "origin" in metadata):
        former = optimizer_of(stored_shapes(checkpoint))
    if former not in (None, asked):
        raise UsageError(
            f"--optimizer {asked}: {checkpoint} was trained with {former}, and a run has to continue with its "
            f"optimizer; give --optimizer {former}, or start a new run from these weights with "
            "--finetune_checkpoint"
        )


def check_folds(config: ExperimentConfig, checkpoint: Path | None, metadata: Mapping[str, Any]) -> None:
    """Checks that training and evaluation hold out the images that the checkpoint was not trained on.

    Raises:
        UsageError: The task has no folds, or they are other ones than those of the checkpoint.
    """
    asked, former, run = _folds(config), metadata.get(_FOLDS), config.run
    if asked and config.detection:
        raise UsageError(f"--folds {asked[0]}: only for classifiers; the checkpoint is a detector")
    if checkpoint is None or not (run.is_training or asked):
        return
    if asked == former:
        stored = metadata.get("seed")
        if asked and run.seed is not None and run.seed != stored:
            raise UsageError(
                f"--seed {run.seed}: {checkpoint} was trained on folds made from seed {stored}, and other folds would "
                "validate on its training images; leave out --seed"
            )
        return
    if run.is_training or former:
        raise UsageError(
            f"{_in_flags(asked) or 'no --folds'}: {checkpoint} was trained with {_in_flags(former) or 'no --folds'}, "
            "and a run keeps its training and validation images; give the same, or another --results_dir"
        )
    if run.seed is None and "seed" not in metadata:
        raise UsageError(f"{_in_flags(asked)}: the folds are made from a seed, which {checkpoint} lacks; give --seed")
    _log.warning(
        "%s: %s does not say that it held out these images, so it may have been trained on them",
        _in_flags(asked), checkpoint,
    )  # fmt: skip


def _folds(config: ExperimentConfig) -> list[int] | None:
    """The number of folds and the one that is held out, as JSON stores them."""
    folds, fold = config.data.folds, config.data.fold
    return None if folds is None or fold is None else [folds, fold]


def _in_flags(folds: list[int] | None) -> str:
    return f"--folds {folds[0]} --fold {folds[1]}" if folds else ""


def _options(config: ExperimentConfig) -> dict[str, Any]:
    """Values by flag name."""
    told = {name: getattr(config.distillation, f"used_{name}") for name in ("alpha", "temperature")}
    weights, detection = config.optimizer.weight_of_class, config.detection or DetectionConfig()
    return {
        **asdict(config.fine_tuning),
        **{name: getattr(config.moving_average, name) for name in ("ema_decay", "ema_every", "ema_decay_steps")},
        **{name: getattr(config.optimizer, name) for name in _OF_OPTIMIZER},
        **{f"distill_{name}": value if config.distillation.teacher else None for name, value in told.items()},
        "class_weights": None if weights is None else [float(f"{weight:.6g}") for weight in weights],
        **{name: getattr(config.data, name) for name in _OF_DATA},
        "progressive_sizes": text_of_train_sizes(config.data.progressive_sizes),
        "repeated_augmentation": config.data.augment.repeated_augmentation,
        **{flag: attrgetter(path)(detection) for flag, path in _OF_DETECTOR.items()},
        "scale_jitter": text_of_scales(detection.augment.scale_jitter),
    }


def _shown(value: bool | float | str | list[float] | None) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return first_few([f"{weight:g}" for weight in value])
    if value is None or value is False:
        return "off"
    return "on" if value is True else f"{value:g}"
