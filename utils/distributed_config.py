"""How the processes of a run work together (no TF)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from utils.errors import require


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributedConfig:
    """What several processes exchange and how long they wait; one process has nothing of it.

    Attributes:
        fp16_compression: Send gradients as float16.
        sync_batch_norm: Normalize by the statistics of the global batch, instead of each process by its own.
        stall_timeout_s: A process that gives no sign of life for so many seconds ends the run.
    """

    fp16_compression: bool = False
    sync_batch_norm: bool = False
    stall_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        timeout = self.stall_timeout_s
        require(math.isfinite(timeout) and timeout >= 1, "stall_timeout_s", timeout, "1 or more seconds")
