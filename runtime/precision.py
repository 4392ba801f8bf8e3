"""The effect of ``--amp`` on this machine: a compute type for the layers and a loss scale."""

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
        compute_dtype: Type of activations and of kernels in use; variables, batch-norm statistics, softmax and loss are
            float32.
        static_loss_scale: Factor of the loss before differentiation, or None.
        dynamic_loss_scale: Whether the scale adapts to overflows instead.
        note: A sentence if the machine does not support the requested precision, else "".
    """

    compute_dtype: Any
    static_loss_scale: float | None = None
    dynamic_loss_scale: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        """Name of the type, which labels results."""
        return str(self.compute_dtype.name)

    @property
    def scales_loss(self) -> bool:
        return self.dynamic_loss_scale or self.static_loss_scale is not None


def choose_precision(config: PrecisionConfig, *, gpu: bool, cpu_features: frozenset[str]) -> Precision:
    """Chooses float16 on GPUs, bfloat16 on CPUs with support for it, else float32 (with a note if ``amp`` is set).

    bfloat16 has the range of float32, so it needs no dynamic scale; a static scale from the flags is applied.
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
