"""Stops a run whose loss is no longer a number."""

from __future__ import annotations

import math

from utils.errors import RunError
from utils.hooks.hook import Hook, StepRecord


class NanGuard(Hook):
    """Raises on the first scalar that is not finite, before damaged weights reach a checkpoint."""

    def after_step(self, record: StepRecord) -> None:
        for name, value in record.values.items():
            if getattr(value, "ndim", None) == 0 and value.dtype.kind == "f" and not math.isfinite(value):
                raise RunError(
                    f"step {record.step}: {name} is {float(value)}; stopped before the weights are saved, earlier "
                    "checkpoints are intact; a lower --lr_init or a longer --lr_warmup_epochs often helps"
                )
