"""The processes of a run, and the only place that will know of Horovod.

A communicator answers sensibly in one process: rank 0 of 1 is the default, not a special case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from utils.errors import UsageError

LAUNCHER_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "HOROVOD_SIZE", "SLURM_STEP_NUM_TASKS")


class Communicator(Protocol):
    """What a run asks of the processes that share it."""

    rank: int
    local_rank: int
    size: int

    def average(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        """Averages gradients over all processes; takes and returns (gradient, variable) pairs."""

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""


class SerialCommunicator:
    """The communicator of a run in one process."""

    rank = 0
    local_rank = 0
    size = 1

    def average(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        return pairs

    def any(self, flag: bool) -> bool:
        return flag


def communicator(environ: Mapping[str, str]) -> Communicator:
    """The communicator for how this process was launched.

    Raises:
        UsageError: A launcher started several processes: each would train on its own.
    """
    for name in LAUNCHER_SIZES:
        size = environ.get(name, "1")
        if size.isdigit() and int(size) > 1:
            raise UsageError(
                f"{name}={size}: {size} processes were launched, and this release trains in one; start it without "
                "mpiexec, horovodrun or srun"
            )
    return SerialCommunicator()
