"""Options of sessions that leave GPUs alone: for files, messages and constants, which need none."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def on_host(**options: Any) -> Any:
    """A ``ConfigProto`` with these fields for a session that neither uses nor initializes a GPU."""
    return tf.compat.v1.ConfigProto(device_count={"GPU": 0}, **options)
