"""Which weights a run trains and at which rates, and what is said where that does not fit what it begins with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.task import Part, Task
from utils.config import ExperimentConfig
from utils.errors import RunError, UsageError
from utils.tuning_config import TuningConfig

KEPT = ("freeze_backbone", "freeze_batch_norm", "head_lr_multiplier", "ema_decay")
"""What a checkpoint says of the run that wrote it, where it is not the usual."""


def learning_rate_multiplier(task: Task, tuning: TuningConfig) -> Callable[[str], float]:
    """The factor of the learning rate by a variable's name; 0 for what is not trained."""
    factors: dict[Part, float] = {
        "backbone": 0.0 if tuning.freeze_backbone else 1.0,
        "pyramid": 1.0,
        "head": tuning.head_lr_multiplier,
    }
    return lambda name: factors[task.part_of(name)]


def check_frozen(config: ExperimentConfig, checkpoint: Path | None) -> tuple[str, ...]:
    """Makes sure that what is frozen was trained before; returns sentences for the log.

    Raises:
        UsageError: The backbone would keep its random weights.
    """
    run, tuning = config.run, config.tuning
    if checkpoint is not None or run.finetune_checkpoint or run.is_benchmark:
        return ()
    if tuning.freeze_backbone:
        raise UsageError(
            "--freeze_backbone: there is no checkpoint to begin with, so the backbone would stay random; "
            "--finetune_checkpoint names one"
        )
    if tuning.freeze_batch_norm:
        return (
            "--freeze_batch_norm: there is no checkpoint to begin with, so the batch-norm statistics stay at mean 0 "
            "and variance 1 (--finetune_checkpoint)",
        )
    return ()


def require_frozen(prefix: Path, missing: Collection[str]) -> None:
    """Makes sure that a checkpoint had the whole backbone, which is not trained.

    Raises:
        RunError: It lacks these variables.
    """
    if missing:
        raise RunError(
            f"--freeze_backbone: {prefix} has no {min(missing)} and {len(missing) - 1} more variables of the backbone, "
            "which would stay random (--finetune_checkpoint)"
        )


def kept(tuning: TuningConfig) -> dict[str, Any]:
    """What is written beside the weights; empty where nothing unusual was asked for."""
    values, usual = asdict(tuning), asdict(TuningConfig())
    return {"tuning": found} if (found := {k: values[k] for k in KEPT if values[k] != usual[k]}) else {}


def changes(tuning: TuningConfig, metadata: Mapping[str, Any]) -> list[str]:
    """A sentence for each option that the run was begun with and that this launch has otherwise."""
    usual, now = asdict(TuningConfig()), asdict(tuning)
    before: Mapping[str, Any] = metadata.get("tuning", {})
    found = []
    for name in KEPT:
        former = before.get(name, usual[name])
        if former != now[name]:
            found.append(f"--{name}: {_value(former)} so far in this run, {_value(now[name])} from here on")
    return found


def _value(value: bool | float | None) -> str:
    if value is None or value is False:
        return "off"
    return "on" if value is True else f"{value:g}"
