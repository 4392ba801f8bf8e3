"""Whether and how weights and activations are quantized: as asked for, and as a checkpoint was trained (no TF)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from utils.errors import UsageError, require

_FIELD = "quantization"
_FLAGS = {"symmetric": "symmetric", "qdq": "use_qdq", "delay": "quant_delay", "per_channel": "per_channel_weights"}
LARGEST_DELAY = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """Quantization to 8 bits, in training by operations that round.

    ``symmetric`` ranges have 0 in their middle. ``qdq`` quantizes by a scale alone. Training begins to quantize after
    ``delay`` steps. ``per_channel`` gives each output channel of a kernel a range.
    """

    symmetric: bool = False
    qdq: bool = False
    delay: int = 0
    per_channel: bool = False

    def __post_init__(self) -> None:
        require(0 <= self.delay <= LARGEST_DELAY, "quant_delay", self.delay, f"0 to {LARGEST_DELAY} steps")


def with_quantization(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the model as flags give them, where those of quantization become one object.

    Raises:
      UsageError: a flag about quantization without --quantize.
    """
    others = {name: value for name, value in fields.items() if name.partition(".")[0] != _FIELD}
    parts = {name: fields[f"{_FIELD}.{name}"] for name in _FLAGS if f"{_FIELD}.{name}" in fields}
    if fields.get(_FIELD):
        return {**others, _FIELD: Quantization(**parts)}
    for name in parts:
        raise UsageError(f"--{_FLAGS[name]}: only used with --quantize, which is not given")
    return others


def resolve_quantization(given: Quantization | None, stored: Mapping[str, Any]) -> Quantization | None:
    """How a checkpoint was quantized, which holds without a flag; without a checkpoint, what was asked for.

    Args:
      given: what was asked for; of the fields, those that are not their defaults.
      stored: what is written beside the checkpoint; empty where there is none, or nothing beside it.

    Raises:
      UsageError: the checkpoint was trained otherwise than the flags say.
    """
    if not stored:
        return given
    if stored.get("has_ranges"):  # of a kind that nothing says
        return given
    if stored.get(_FIELD) is None:
        if given is not None:
            raise UsageError(
                "--quantize: the checkpoint was trained without it and has no ranges; leave the flag out, or begin a "
                "new run from these weights by --finetune_checkpoint"
            )
        return None
    known = Quantization(**stored[_FIELD])
    for name, flag in _FLAGS.items() if given is not None else ():
        asked, there = getattr(given, name), getattr(known, name)
        if asked and asked != there:
            what = (
                f"--{flag}: the checkpoint was trained without it"
                if asked is True
                else (f"--{flag} {asked}: the checkpoint was trained with {there}")
            )
            raise UsageError(f"{what}; leave the flag out, or begin a new run by --finetune_checkpoint")
    return known
