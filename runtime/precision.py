"""The meaning of ``--amp`` on this machine: a compute type for the layers, and a loss scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from utils.config import PrecisionConfig
from utils.system.machine import BFLOAT16_FEATURES


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Number formats of a run.

    Attributes:
        compute_dtype: Type of activations, and of kernels where they are used; variables, batch-norm statistics,
            softmax and loss are float32.
        static_loss_scale: Factor on the loss before differentiation, or None.
        dynamic_loss_scale: Whether a scale is adapted instead.
        note: A sentence where the machine cannot give what was asked for, else "".
    """

    compute_dtype: Any
    static_loss_scale: float | None = None
    dynamic_loss_scale: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        """The type's name, as results are labelled with it."""
        return str(self.compute_dtype.name)

    @property
    def scales_loss(self) -> bool:
        return self.dynamic_loss_scale or self.static_loss_scale is not None


def choose_precision(config: PrecisionConfig, *, gpu: bool, cpu_features: frozenset[str]) -> Precision:
    """float16 on GPUs, bfloat16 on CPUs with instructions for it, float32 with a note elsewhere or without ``amp``.

    bfloat16 has float32's range, so that it needs no dynamic scale; a static one that was asked for is applied.
    """
    if not config.amp:
        return Precision(compute_dtype=tf.float32)
    static = config.static_loss_scale if config.loss_scaling else None
    if gpu:
        dynamic = config.loss_scaling and static is None
        return Precision(compute_dtype=tf.float16, static_loss_scale=static, dynamic_loss_scale=dynamic)
    if cpu_features & BFLOAT16_FEATURES:
        return Precision(compute_dtype=tf.bfloat16, static_loss_scale=static)
    return Precision(
        compute_dtype=tf.float32,
        static_loss_scale=static,
        note="--amp: this machine has neither a GPU nor a CPU with bfloat16 instructions (avx512_bf16 or amx_bf16); "
        "computing in float32",
    )
