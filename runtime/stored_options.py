"""Options of a run stored beside its weights, and checks for later launches with other options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

from utils.config import ExperimentConfig
from utils.detection_config import DetectionConfig
from utils.errors import UsageError
from utils.optimizer_table import DEFAULT_OPTIMIZER, optimizer_of
from utils.weights.checkpoint_contents import stored_shapes

_TUNING, _OPTIMIZER, _SCHEDULE = "tuning", "optimizer", "schedule"
_OF_OPTIMIZER = (
    "beta2",
    "epsilon",
    "clip_norm",
    "no_bias_decay",
    "lr_warmup_start",
    "lr_final",
    "loss",
    "bce_target_threshold",
    "accumulate_steps",
)
"""Fields of ``OptimizerConfig`` that are flags of the same name."""


_OF_DETECTOR = {
    "matcher": "matcher.kind",
    "box_loss": "losses.box_loss",
    "class_loss": "losses.class_loss",
    "box_loss_weight": "losses.localization_weight",
    "class_loss_weight": "losses.classification_weight",
}
"""Flags of detectors by their field of ``DetectionConfig``."""


def options_to_store(config: ExperimentConfig) -> dict[str, Any]:
    """Entries for the description of a checkpoint: the schedule, and options that do not have their defaults."""
    now, usual = _options(config), _options(ExperimentConfig())
    entries: dict[str, Any] = {_SCHEDULE: config.optimizer.schedule}
    if config.optimizer.name != DEFAULT_OPTIMIZER:
        entries[_OPTIMIZER] = config.optimizer.name
    if unusual := {name: now[name] for name in now if now[name] != usual[name]}:
        entries[_TUNING] = unusual
    return entries


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


def _options(config: ExperimentConfig) -> dict[str, Any]:
    """Values by flag name."""
    average = config.moving_average
    optimizer = {name: getattr(config.optimizer, name) for name in _OF_OPTIMIZER}
    averages = {"ema_decay": average.ema_decay, "ema_every": average.ema_every}
    detection = config.detection or DetectionConfig()
    detector = {flag: attrgetter(path)(detection) for flag, path in _OF_DETECTOR.items()}
    return {**asdict(config.fine_tuning), **averages, **optimizer, **detector}


def _shown(value: bool | float | str | None) -> str:
    if isinstance(value, str):
        return value
    if value is None or value is False:
        return "off"
    return "on" if value is True else f"{value:g}"
