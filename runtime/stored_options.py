"""Options of a run that are written beside its weights, and what is said where a later launch has others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from utils.config import ExperimentConfig

_KEY = "tuning"


def options_to_store(config: ExperimentConfig) -> dict[str, Any]:
    """Entries for the description of a checkpoint; empty where nothing unusual was asked for."""
    now, usual = _options(config), _options(ExperimentConfig())
    return {_KEY: found} if (found := {name: now[name] for name in now if now[name] != usual[name]}) else {}


def changed_options(config: ExperimentConfig, metadata: Mapping[str, Any]) -> list[str]:
    """A sentence for each option that the run was begun with and that this launch has otherwise."""
    before: Mapping[str, Any] = _options(ExperimentConfig()) | metadata.get(_KEY, {})
    return [
        f"--{name}: {_in_words(before[name])} so far in this run, {_in_words(value)} from here on"
        for name, value in _options(config).items()
        if before[name] != value
    ]


def _options(config: ExperimentConfig) -> dict[str, Any]:
    """Values by the flag's name."""
    return {**asdict(config.fine_tuning), "ema_decay": config.moving_average.ema_decay}


def _in_words(value: bool | float | None) -> str:
    if value is None or value is False:
        return "off"
    return "on" if value is True else f"{value:g}"
