"""Resolve the quantization of a network: from its checkpoint, or as was asked for. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.specs import QuantizationSpec
from utils.errors import UsageError
from utils.flags.table import QUANTIZATION, QUANTIZATION_FLAGS


def resolve_quantization(given: QuantizationSpec | None, stored: Mapping[str, Any]) -> QuantizationSpec | None:
    """Take the quantization that a checkpoint was trained with; without a checkpoint, the one that was asked for.

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
    if stored.get(QUANTIZATION) is None:
        if given is not None:
            raise UsageError(
                "--quantize: the checkpoint was trained without it and has no ranges; leave the flag out, or begin a "
                "new run from these weights by --finetune_checkpoint"
            )
        return None
    known = QuantizationSpec(**stored[QUANTIZATION])
    for name, flag in QUANTIZATION_FLAGS.items() if given is not None else ():
        asked, there = getattr(given, name), getattr(known, name)
        if asked and asked != there:
            what = (
                f"--{flag}: the checkpoint was trained without it"
                if asked is True
                else (f"--{flag} {asked}: the checkpoint was trained with {there}")
            )
            raise UsageError(f"{what}; leave the flag out, or begin a new run by --finetune_checkpoint")
    return known
