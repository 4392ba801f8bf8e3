"""The learning rate of each part of a network, and checks that frozen weights have been trained."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from model.specs import Part
from runtime.task import Training
from utils.config import ExperimentConfig, FineTuningConfig
from utils.errors import RunError, UsageError
from utils.text import first_and_more


def learning_rate_multiplier(training: Training, fine_tuning: FineTuningConfig) -> Callable[[str], float]:
    """Returns a function from variable names to learning-rate factors; frozen variables have 0.

    Source of the layer decay: Howard and Ruder, Universal Language Model Fine-tuning, arXiv:1801.06146, section 3.2.
    """
    factors: dict[Part, float] = {
        "backbone": 0.0 if fine_tuning.freeze_backbone else 1.0,
        "pyramid": 1.0,
        "head": fine_tuning.head_lr_multiplier,
    }
    return lambda name: factors[training.part_of(name)] * fine_tuning.layer_decay ** training.depth_of(name)


def check_frozen(config: ExperimentConfig, checkpoint: Path | None) -> tuple[str, ...]:
    """Checks that frozen parts have been trained before; returns sentences for the log.

    Raises:
        UsageError: The frozen backbone would keep random weights.
    """
    run, fine_tuning = config.run, config.fine_tuning
    if checkpoint is not None or run.finetune_checkpoint or run.is_benchmark:
        return ()
    if fine_tuning.freeze_backbone:
        raise UsageError(
            "--freeze_backbone: there is no checkpoint to start from, so the backbone would stay random; "
            "--finetune_checkpoint names one"
        )
    if fine_tuning.freeze_batch_norm:
        return (
            "--freeze_batch_norm: there is no checkpoint to start from, so the batch-norm statistics stay at mean 0 "
            "and variance 1 (--finetune_checkpoint)",
        )
    return ()


def require_frozen(prefix: Path, missing: Collection[str]) -> None:
    """Checks that a checkpoint contains the whole frozen backbone.

    Raises:
        RunError: The checkpoint lacks these variables.
    """
    if missing:
        raise RunError(
            f"--freeze_backbone: {prefix} lacks {first_and_more(sorted(missing), 'variable')} of the backbone, "
            "which would stay random (--finetune_checkpoint)"
        )
