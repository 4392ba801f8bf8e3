"""Resolves the quantization of a network from its checkpoint or the flags. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.specs import QuantizationSpec
from utils.errors import UsageError
from utils.flags.table import QUANTIZATION, QUANTIZATION_FLAGS


def resolve_quantization(given: QuantizationSpec | None, stored: Mapping[str, Any]) -> QuantizationSpec | None:
    """The quantization that the checkpoint was trained with, or, without a checkpoint, that of the flags.

    Args:
        given: The quantization from the flags; fields with default values count as not given.
        stored: The description of the checkpoint; empty without a checkpoint or a description.

    Raises:
        UsageError: The flags contradict the training of the checkpoint.
    """
    if not stored:
        return given
    if stored.get("has_ranges"):  # of unknown kind
        return given
    if stored.get(QUANTIZATION) is None:
        if given is not None:
            raise UsageError(
                "--quantize: the checkpoint was trained without it and has no ranges; leave the flag out, or start a "
                "new run from these weights with --finetune_checkpoint"
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
            raise UsageError(f"{what}; leave the flag out, or start a new run with --finetune_checkpoint")
    return known
