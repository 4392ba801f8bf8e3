"""The effect of ``--amp`` on this machine: a compute type for the layers and a loss scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from utils.config import PrecisionConfig
from utils.errors import UsageError
from utils.system.machine import BFLOAT16_FEATURES

BFLOAT16_CAPABILITY = (8, 0)
"""The compute capability of the first GPUs that compute in bfloat16, Ampere's."""


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


def choose_precision(
    config: PrecisionConfig,
    *,
    gpu: bool,
    cpu_features: frozenset[str],
    compute_capability: tuple[int, int] | None = None,
) -> Precision:
    """Chooses the type of ``--amp``.

    Without ``--amp_dtype`` that is float16 on GPUs, bfloat16 on CPUs with support for it, else float32 with a note.
    bfloat16 has the range of float32, so it needs no dynamic scale; a static scale from the flags is applied.

    Args:
        config: The flags.
        gpu: Whether the run computes on a GPU.
        cpu_features: Instructions of the CPU.
        compute_capability: Of the GPU; None if it is not known.

    Raises:
        UsageError: The device does not compute in the type of ``--amp_dtype``.
    """
    if not config.amp:
        return Precision(compute_dtype=tf.float32)
    has_bfloat16 = bool(cpu_features & BFLOAT16_FEATURES)
    if config.amp_dtype != "auto":
        _require_type(config.amp_dtype, gpu, has_bfloat16, compute_capability)
    static = config.static_loss_scale if config.loss_scaling else None
    if gpu and config.amp_dtype != "bfloat16":
        dynamic = config.loss_scaling and static is None
        return Precision(compute_dtype=tf.float16, static_loss_scale=static, dynamic_loss_scale=dynamic)
    if gpu or has_bfloat16:
        return Precision(compute_dtype=tf.bfloat16, static_loss_scale=static)
    return Precision(
        compute_dtype=tf.float32,
        static_loss_scale=static,
        note="--amp: this machine has neither a GPU nor a CPU with bfloat16 instructions (avx512_bf16 or amx_bf16); "
        "computing in float32",
    )


def _require_type(dtype: str, gpu: bool, has_bfloat16: bool, compute_capability: tuple[int, int] | None) -> None:
    """Refuses a type that the device does not compute in."""
    if dtype == "float16" and not gpu:
        raise UsageError(
            "--amp_dtype float16: only GPUs compute fast in it, and this run uses none; bfloat16 and auto are for CPUs"
        )
    if dtype == "bfloat16" and not gpu and not has_bfloat16:
        raise UsageError(
            "--amp_dtype bfloat16: this CPU has no instructions for it (avx512_bf16 or amx_bf16); auto computes in "
            "float32 here"
        )
    major, minor = compute_capability or BFLOAT16_CAPABILITY
    if dtype == "bfloat16" and gpu and (major, minor) < BFLOAT16_CAPABILITY:
        raise UsageError(
            f"--amp_dtype bfloat16: needs a GPU of compute capability 8.0 (Ampere) or higher, and this one has "
            f"{major}.{minor}; float16 and auto are for it"
        )
