"""The GPUs of this machine, and how fast they multiply matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from runtime.devices.precision import BFLOAT16_CAPABILITY
from runtime.session import compute_capability
from tools.doctor.probe import ProbeResult, Skipped
from tools.doctor.sessions import growing, seconds_of

tf1 = tf.compat.v1

_SIDE = {"GPU": 8192, "CPU": 1024}
_REPEATS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """One way to compute a network.

    Attributes:
        name: Its name in the table.
        flags: The flags of ``main.py`` that select it.
        dtype: Type of the products.
        tf32: Whether float32 products may be rounded to TensorFloat-32.
        tolerance: Largest relative error of a training step's gradients beside float32 on the CPU.
    """

    name: str
    flags: tuple[str, ...]
    dtype: Any
    tf32: bool = False
    tolerance: float


FLOAT32 = Arithmetic(name="float32", flags=("--no_tf32",), dtype=tf.float32, tolerance=1e-3)
TF32 = Arithmetic(name="tf32", flags=(), dtype=tf.float32, tf32=True, tolerance=0.2)
FLOAT16 = Arithmetic(
    name="float16", flags=("--amp", "--amp_dtype=float16", "--loss_scale=128"), dtype=tf.float16, tolerance=0.2
)
BFLOAT16 = Arithmetic(name="bfloat16", flags=("--amp", "--amp_dtype=bfloat16"), dtype=tf.bfloat16, tolerance=0.6)


def has_gpu() -> bool:
    """Returns whether TensorFlow can use a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def require_gpus(count: int = 1) -> None:
    """Skips a trial that needs more GPUs than there are.

    Raises:
        Skipped: There are fewer.
    """
    found = len(tf.config.list_physical_devices("GPU"))
    if found < count:
        raise Skipped(f"needs {'a GPU' if count == 1 else f'{count} GPUs'}; TensorFlow finds {found or 'none'}")


def gpu_arithmetic() -> tuple[Arithmetic, ...]:
    """The ways in which the GPUs compute; bfloat16 and TensorFloat-32 need Ampere or later."""
    newest = (compute_capability() or (0, 0)) >= BFLOAT16_CAPABILITY
    return (FLOAT32, TF32, FLOAT16, BFLOAT16) if newest else (FLOAT32, FLOAT16)


def matrix_peak() -> ProbeResult:
    """The speed of large matrix products in each type of number, in TFLOP/s."""
    require_gpus()
    peaks = {kind.name: round(product_speed(kind, "GPU") / 1e12, 2) for kind in gpu_arithmetic()}
    text = ", ".join(f"{name} {value:.4g}" for name, value in peaks.items())
    return ProbeResult(f"matrix products in TFLOP/s: {text}", {"tflops": peaks})


def product_speed(kind: Arithmetic, device: str) -> float:
    """Floating-point operations a second of products of two square matrices on a device, "GPU" or "CPU"."""
    side = _SIDE[device]
    tf.config.experimental.enable_tensor_float_32_execution(kind.tf32)
    with tf.Graph().as_default(), tf.device(f"/{device}:0"), tf1.Session(config=growing()) as session:
        factor = tf1.get_variable("factor", initializer=tf.random.stateless_normal([side, side], [1, 2]))
        narrow = tf.cast(factor, kind.dtype)
        product = narrow
        for _ in range(8):  # one after the other, so that casts and launches do not count
            product = tf.matmul(narrow, product) * tf.constant(side**-0.5, kind.dtype)
        total = tf.reduce_sum(tf.cast(product, tf.float32))
        session.run(factor.initializer)
        session.run(total)
        step = session.make_callable(total)
        seconds = min(seconds_of(step) for _ in range(_REPEATS))
    return 8 * 2 * side**3 / seconds
