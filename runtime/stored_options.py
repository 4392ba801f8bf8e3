"""Options of a run that are written beside its weights, and what is said or refused where a later launch differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from utils.config import ExperimentConfig
from utils.errors import UsageError
from utils.optimizer_table import DEFAULT_OPTIMIZER, optimizer_of
from utils.weights.checkpoint_contents import stored_shapes

_TUNING, _OPTIMIZER = "tuning", "optimizer"


def options_to_store(config: ExperimentConfig) -> dict[str, Any]:
    """Entries for the description of a checkpoint; empty where nothing unusual was asked for."""
    now, usual = _options(config), _options(ExperimentConfig())
    entries: dict[str, Any] = {}
    if config.optimizer.name != DEFAULT_OPTIMIZER:
        entries[_OPTIMIZER] = config.optimizer.name
    if unusual := {name: now[name] for name in now if now[name] != usual[name]}:
        entries[_TUNING] = unusual
    return entries


def changed_options(config: ExperimentConfig, metadata: Mapping[str, Any]) -> list[str]:
    """A sentence for each option that the run was begun with and that this launch has otherwise."""
    before: Mapping[str, Any] = _options(ExperimentConfig()) | metadata.get(_TUNING, {})
    return [
        f"--{name}: {_in_words(before[name])} so far in this run, {_in_words(value)} from here on"
        for name, value in _options(config).items()
        if before[name] != value
    ]


def check_optimizer(config: ExperimentConfig, checkpoint: Path, metadata: Mapping[str, Any]) -> None:
    """Makes sure that training goes on with the optimizer that it was begun with, whose state a checkpoint has.

    Raises:
        UsageError: It is another one.
    """
    if not config.run.is_training:
        return
    former, asked = metadata.get(_OPTIMIZER), config.optimizer.name
    # Nothing is written of the default, nor by other programs: there the slots tell.
    if former is None and (asked != DEFAULT_OPTIMIZER or "origin" in metadata):
        former = optimizer_of(stored_shapes(checkpoint))
    if former not in (None, asked):
        raise UsageError(
            f"--optimizer {asked}: {checkpoint} was trained with {former}, and a run goes on with the "
            f"optimizer that it was begun with; give --optimizer {former}, or begin a new run from these weights by "
            "--finetune_checkpoint"
        )


def _options(config: ExperimentConfig) -> dict[str, Any]:
    """Values by the flag's name."""
    return {**asdict(config.fine_tuning), "ema_decay": config.moving_average.ema_decay}


def _in_words(value: bool | float | None) -> str:
    if value is None or value is False:
        return "off"
    return "on" if value is True else f"{value:g}"
