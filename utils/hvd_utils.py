"""The processes of a run; the only module that uses Horovod.

A communicator also works in a single process: rank 0 of 1 is the default, not a special case. Operations on tensors
become part of the current graph. Operations on Python values run at once; every process has to call them at the same
point of the program, or all of them wait forever.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

from utils.errors import UsageError, reason
from utils.local_communicator import OPEN_MPI, OWN, LocalCommunicator
from utils.system.cpu_shares import fair_share

LAUNCHER_SIZES = (OWN.size, "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "HOROVOD_SIZE", "SLURM_STEP_NUM_TASKS")
BUCKET_VALUES = 2**22
"""A group of gradients is complete with this many values; 16 MiB of float32."""
_INSTALL = "`bash utils/install_horovod.sh` builds and installs it with MPI and Gloo"


class Communicator(Protocol):
    """The processes that share a run.

    Attributes:
        rank: Number of this process among all, from 0.
        local_rank: Number of this process among those on its host, from 0.
        size: Number of processes.
        threads: Number of threads that this process may keep busy: its share of the CPUs of its host.
    """

    rank: int
    local_rank: int
    size: int
    threads: int

    def average(self, tensor: Any) -> Any:
        """The mean of a tensor over all processes, differentiable."""

    def average_gradients(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        """Averages gradients over all processes; takes and returns (gradient, variable) pairs."""

    def take_over(self, variables: Sequence[Any]) -> Any:
        """An operation that copies rank 0's values of the variables to all processes."""

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes in the order of their ranks; each must be picklable."""

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value."""

    def any(self, flag: bool) -> bool:
        """Returns whether the flag is set in any process."""

    def barrier(self) -> None:
        """Waits until all processes have called it."""


def of_rank(communicator: Communicator) -> str:
    """A suffix for messages: " of rank 1 on node2" if there are several processes, else nothing."""
    return f" of rank {communicator.rank} on {socket.gethostname()}" if communicator.size > 1 else ""


def gpu_warning(communicator: Communicator) -> str:
    """A sentence about several GPUs that average through their host's memory, else ""."""
    if isinstance(communicator, LocalCommunicator):
        return (
            "without Horovod, gradients pass through the host's memory, which is slow for GPUs; "
            "`bash utils/install_horovod.sh` builds it with NCCL, and mpiexec starts its processes"
        )
    if not isinstance(communicator, HorovodCommunicator) or communicator.has_nccl():
        return ""
    return (
        "Horovod was built without NCCL: gradients pass through the host's memory, which is slow; "
        "`bash utils/install_horovod.sh` builds it with NCCL for TensorFlow's CUDA build"
    )


class SerialCommunicator:
    """The communicator of a run in one process."""

    rank = 0
    local_rank = 0
    size = 1

    def __init__(self) -> None:
        self.threads = len(os.sched_getaffinity(0))

    def average(self, tensor: Any) -> Any:
        return tensor

    def average_gradients(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        return pairs

    def take_over(self, variables: Sequence[Any]) -> Any:
        import tensorflow as tf  # not at the top: the command line is parsed before TensorFlow is loaded

        return tf.no_op()

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def broadcast(self, value: Any) -> Any:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def barrier(self) -> None:
        return


class HorovodCommunicator:
    """The communicator of processes that Horovod connects.

    Args:
        launched: Number of processes that the launcher started.
        witness: The environment variable that says so, for messages.
        fp16_compression: Send gradients as float16.

    Raises:
        UsageError: Horovod is not installed, or connects another number of processes.
    """

    def __init__(self, launched: int, witness: str, *, fp16_compression: bool = False) -> None:
        try:
            import horovod.tensorflow as hvd
        except Exception as error:  # libraries of another TensorFlow or MPI raise errors of any type
            raise UsageError(
                f"{witness}: {launched} processes were launched, and Horovod, which connects them, cannot be loaded "
                f"({reason(error)}); {_INSTALL}"
            ) from error
        hvd.init()
        if hvd.size() != launched:
            raise UsageError(
                f"{witness}: {launched} processes were launched, but Horovod connects {hvd.size()}: it lacks support "
                f"for this launcher (`horovodrun --check-build` lists what it has); {_INSTALL}"
            )
        self._hvd = hvd
        self._compression = hvd.Compression.fp16 if fp16_compression else hvd.Compression.none
        self.rank: int = hvd.rank()
        self.local_rank: int = hvd.local_rank()
        self.size: int = hvd.size()
        self._exchange = _Exchange(hvd)
        self.threads = fair_share(self.gather((socket.gethostname(), sorted(os.sched_getaffinity(0)))), self.rank)

    def has_nccl(self) -> bool:
        """Returns whether Horovod averages on GPUs by NCCL."""
        return bool(self._hvd.nccl_built())

    def average(self, tensor: Any) -> Any:
        return self._hvd.allreduce(tensor, op=self._hvd.Average)

    def average_gradients(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        from utils.vectors import joined, parts

        averaged: dict[str, Any] = {}
        for bucket in buckets(pairs):
            vector = joined([gradient for gradient, _ in bucket])
            mean = self._hvd.allreduce(vector, op=self._hvd.Average, compression=self._compression)
            variables = [variable for _, variable in bucket]
            averaged |= zip((v.name for v in variables), parts(mean, variables), strict=True)
        return [(averaged[variable.name], variable) for _, variable in pairs]

    def take_over(self, variables: Sequence[Any]) -> Any:
        return self._hvd.broadcast_variables(variables, root_rank=0)

    def gather(self, value: Any) -> list[Any]:
        return self._exchange.gather(value)

    def broadcast(self, value: Any) -> Any:
        return self._exchange.gather(value if self.rank == 0 else None)[0]

    def any(self, flag: bool) -> bool:
        return any(self.gather(flag))

    def barrier(self) -> None:
        self.gather(None)


def buckets(pairs: Sequence[tuple[Any, Any]]) -> list[list[tuple[Any, Any]]]:
    """Gradients in groups that are averaged as one tensor each.

    The groups are the same in every run, and so is the order in which Horovod adds up the values of the processes. The
    last variables come first, because their gradients are computed first: their group travels while the others are
    computed.

    Args:
        pairs: Gradients and variables, in the order in which the variables are used.
    """
    groups: list[list[tuple[Any, Any]]] = []
    free, dtype = 0, None
    for gradient, variable in reversed(pairs):
        if free <= 0 or gradient.dtype != dtype:
            groups.append([])
            free, dtype = BUCKET_VALUES, gradient.dtype
        groups[-1].append((gradient, variable))
        free -= variable.shape.num_elements()
    return groups


class _Exchange:
    """Exchanges Python values through a graph of its own; it unpickles only data sent by processes of this run."""

    def __init__(self, hvd: Any) -> None:
        import tensorflow as tf

        from utils.host_session import on_host

        tf1 = tf.compat.v1
        with tf.Graph().as_default() as graph, tf.device("/CPU:0"):
            self._payload = tf1.placeholder(tf.uint8, [None])
            self._lengths = hvd.allgather(tf.shape(self._payload), name="exchange_lengths")
            self._payloads = hvd.allgather(self._payload, name="exchange_payloads")
        options = on_host(inter_op_parallelism_threads=2, use_per_session_threads=True)
        self._session = tf1.Session(graph=graph, config=options)

    def gather(self, value: Any) -> list[Any]:
        import numpy as np

        payload = np.frombuffer(pickle.dumps(value), np.uint8)
        lengths, payloads = self._session.run([self._lengths, self._payloads], {self._payload: payload})
        parts = np.split(payloads, np.cumsum(lengths)[:-1])
        return [pickle.loads(part.tobytes()) for part in parts]


def launched_processes(environ: Mapping[str, str]) -> tuple[int, str]:
    """The number of launched processes and the variable that says so; 1 and "" without a launcher."""
    for name in LAUNCHER_SIZES:
        size = environ.get(name, "1")
        if size.isdigit() and int(size) > 1:
            return int(size), f"{name}={size}"
    return 1, ""


def communicator(environ: Mapping[str, str], *, fp16_compression: bool = False) -> Communicator:
    """The communicator that fits how this process was launched.

    Horovod connects processes if it is installed, unless they were started by ``python -m tools.launch``.

    Raises:
        UsageError: A launcher started several processes that cannot be connected; each would train on its own.
    """
    launched, witness = launched_processes(environ)
    if launched == 1:
        return SerialCommunicator()
    if OWN.started_all_here(environ):
        return LocalCommunicator(OWN, environ, fp16_compression=fp16_compression)
    if OPEN_MPI.started_all_here(environ) and find_spec("horovod") is None:
        return LocalCommunicator(OPEN_MPI, environ, fp16_compression=fp16_compression)
    return HorovodCommunicator(launched, witness, fp16_compression=fp16_compression)
