"""Options of the doctor's sessions, which use every GPU, and the time of their steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def growing() -> Any:
    """Options of a session that takes memory of the GPUs as it needs it, as does TensorFlow's context from then on."""
    for gpu in tf.config.get_visible_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    options = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    options.gpu_options.allow_growth = True
    return options


def seconds_of(step: Callable[[], Any]) -> float:
    """The time that a step takes, in seconds."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started
