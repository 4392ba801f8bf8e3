"""The optimizer, learning rate and moving averages of a pipeline config (no TF)."""

from __future__ import annotations

from typing import Any

from object_detection.pipeline.detection import HYPERPARAMS
from object_detection.pipeline.fields import Fields
from utils.config import EMA, RAW, MovingAverageConfig
from utils.optimizer_config import OptimizerConfig

OPTIMIZERS = {"momentum_optimizer": "momentum", "adam_optimizer": "adam", "rms_prop_optimizer": "rmsprop"}
"""Optimizers of the format with their rows in ``utils.optimizer_table``, which compute the same."""
COSINE, CONSTANT = "cosine_decay_learning_rate", "constant_learning_rate"

_OPTIMIZER = "train_config.optimizer"
_AVERAGES, _DECAY = f"{_OPTIMIZER}.use_moving_average", f"{_OPTIMIZER}.moving_average_decay"
_EVALUATES_AVERAGES = "eval_config.use_moving_averages"
_ADAM_BETA1 = 0.9  # the format has no field for it


def optimizer_of(fields: Fields) -> OptimizerConfig:
    """Returns the optimizer with its schedule; weight decay is a term of the loss with each of ``OPTIMIZERS``."""
    kind = fields.one_of(_OPTIMIZER, OPTIMIZERS)
    for hyperparams in HYPERPARAMS:
        fields.need(f"{hyperparams}.regularizer.l2_regularizer")
    clip_norm = fields.number("train_config.gradient_clipping_by_norm", 0)
    return OptimizerConfig(
        name=OPTIMIZERS[kind],
        **_constants(fields, kind),
        **_schedule(fields, f"{_OPTIMIZER}.{kind}.learning_rate"),
        weight_decay=_weight_decay(fields),
        clip_norm=clip_norm or None,  # of the global norm, as the original's model_lib.py clips
    )


def moving_average_of(fields: Fields, *, training: bool) -> tuple[MovingAverageConfig, list[str]]:
    """Returns the moving averages to keep and the weights to evaluate, and notes for the log."""
    averages, evaluated = fields.value(_AVERAGES), fields.value(_EVALUATES_AVERAGES)
    if training and evaluated and not averages:
        raise fields.error(_EVALUATES_AVERAGES, f" true: needs {_AVERAGES} true, which keeps the averages")
    decay = _below_one(fields, _DECAY, above=True) if averages else fields.value(_DECAY)
    notes = [
        f"{_AVERAGES} true{_unset(fields, _AVERAGES)}: unlike in the original, step n decays the averages by at most "
        "(1 + n) / (10 + n), and batch-norm statistics are averaged too"
    ]
    if not evaluated:
        notes.append(
            f"{_EVALUATES_AVERAGES} false{_unset(fields, _EVALUATES_AVERAGES)}: evaluation uses the trained weights, "
            "not their averages"
        )
    config = MovingAverageConfig(ema_decay=decay if averages else None, eval_weights=EMA if evaluated else RAW)
    return config, notes if training and averages else []


def _constants(fields: Fields, kind: str) -> dict[str, Any]:
    path = f"{_OPTIMIZER}.{kind}."
    if kind == "adam_optimizer":
        return {"momentum": _ADAM_BETA1, "epsilon": fields.number(f"{path}epsilon", 0, above=True)}
    momentum = {"momentum": _below_one(fields, f"{path}momentum_optimizer_value")}
    if kind == "momentum_optimizer":
        return momentum
    epsilon = fields.number(f"{path}epsilon", 0, above=True)
    return {**momentum, "beta2": _below_one(fields, f"{path}decay"), "epsilon": epsilon}


def _schedule(fields: Fields, rate: str) -> dict[str, Any]:
    kind = fields.one_of(rate, (COSINE, CONSTANT))
    path = f"{rate}.{kind}."
    if kind == CONSTANT:
        peak = fields.number(f"{path}learning_rate", 0, above=True)
        return {"learning_rate": peak, "schedule": "constant", "warmup_steps": 0}
    base = fields.number(f"{path}learning_rate_base", 0, above=True)
    warmup_rate = fields.number(f"{path}warmup_learning_rate", 0, base)
    warmup_steps = fields.number(f"{path}warmup_steps", 0)
    hold_steps = fields.number(f"{path}hold_base_rate_steps", 0)
    return {
        "learning_rate": base,
        "warmup_steps": warmup_steps,
        "warmup_start": warmup_rate / base,
        "hold_steps": hold_steps,
        "schedule": "cosine",
        "schedule_steps": _total_steps(fields, f"{path}total_steps", warmup_steps + hold_steps),
        "cosine_from_peak": True,
    }


def _total_steps(fields: Fields, path: str, steps_at_peak: int) -> int:
    total = int(fields.number(path, 1))
    if total <= steps_at_peak:
        raise fields.error(
            path, f" {total}: must be above the {steps_at_peak} steps of warmup_steps and hold_base_rate_steps"
        )
    return total


def _below_one(fields: Fields, path: str, *, above: bool = False) -> float:
    """Returns a decay, which may be 0 unless ``above``."""
    value = float(fields.number(path, 0, 1, above=above))
    if value == 1:
        raise fields.error(path, " 1: must be below 1")
    return value


def _weight_decay(fields: Fields) -> float:
    paths = [f"{hyperparams}.regularizer.l2_regularizer.weight" for hyperparams in HYPERPARAMS]
    fields.number(paths[0], 0)
    return float(fields.same((paths[0], paths[1])))


def _unset(fields: Fields, path: str) -> str:
    return "" if fields.is_set(path) else " (its default)"
