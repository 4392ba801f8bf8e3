"""The GPU of each process: chosen before TensorFlow uses any, because its first use of one decides for all.

TensorFlow has two views of the GPUs in a process: that of its eager context, which the functions of a data set bring
into being in graph mode too, and that of a session. If they differ, one GPU is mapped to two devices, an error, or the
context takes the memory of every GPU. So the choice is made for the context first, and the sessions repeat it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from runtime.devices.errors import device_failure
from utils.config import ExperimentConfig
from utils.errors import RunError, UsageError, reason
from utils.hvd_utils import Communicator
from utils.system.gpus import Card, ask_driver, count_in_machine, hidden_by_user, why_unusable
from utils.text import plural

tf1 = tf.compat.v1
GPU = "/GPU:0"
"""TensorFlow's name of the GPU of this process in its graphs, whichever it is."""

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that TensorFlow can use: its name, its compute capability, and its UUID or ""."""

    name: str
    capability: tuple[int, ...]
    identity: str

    @property
    def kind(self) -> str:
        """Name and compute capability, equal for equal GPUs."""
        return f"{self.name} (compute capability {'.'.join(map(str, self.capability)) or 'unknown'})"


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleGpus:
    """The GPUs of its machine that one process sees.

    Attributes:
        rank: Its number among all processes.
        local_rank: Its number among those on its host.
        host: Name of the machine.
        gpus: The GPUs that TensorFlow can use.
        fault: A sentence for GPUs that TensorFlow cannot use, or "".
    """

    rank: int
    local_rank: int
    host: str
    gpus: tuple[Gpu, ...] = ()
    fault: str = ""

    @property
    def who(self) -> str:
        return f"rank {self.rank} on {self.host}"


@dataclass(frozen=True, slots=True)
class ChosenGpu:
    """The GPU of this process: its number among those that it sees, and the limit of its memory in MiB or None."""

    index: int
    memory_limit_mib: int | None = None


def take_gpu(config: ExperimentConfig, communicator: Communicator) -> ChosenGpu | None:
    """Restricts TensorFlow to the GPU of this process, and returns it; None on the CPU.

    All processes have to call it, before any graph is built or data set made. They compare what they see, so that all
    end with the same sentence.

    Raises:
        UsageError: The GPUs do not suit the flags or the number of processes, or TensorFlow cannot use them.
    """
    cards = () if config.run.cpu else ask_driver().cards
    visible = communicator.gather(_look(config, communicator, cards))
    index = choose_gpu(visible, communicator.rank, config.run.gpu_id)
    if index is None:
        tf.config.set_visible_devices([], "GPU")
        return None
    gpu = tf.config.list_physical_devices("GPU")[index]
    limit = _memory_limit(config.run.gpu_memory_fraction, cards, index)
    tf.config.set_visible_devices(gpu, "GPU")
    if limit is None:
        tf.config.experimental.set_memory_growth(gpu, True)
    else:
        tf.config.set_logical_device_configuration(gpu, [tf.config.LogicalDeviceConfiguration(memory_limit=limit)])
    return ChosenGpu(index, limit)


def choose_gpu(visible: Sequence[VisibleGpus], rank: int, gpu_id: int | None) -> int | None:
    """The number of the GPU of one process among those that it sees; None if no process sees any.

    Processes on one host either see the same GPUs, and take the one with their local rank, or one GPU each.

    Args:
        visible: What each process sees, by rank.
        rank: Rank of the process.
        gpu_id: ``--gpu_id``.

    Raises:
        UsageError: The GPUs do not suit the flags or the processes.
    """
    several = len(visible) > 1
    for seen in visible:
        if seen.fault:
            raise UsageError(f"{seen.who}: {seen.fault}" if several else seen.fault)
    mine = visible[rank]
    if gpu_id is not None and gpu_id >= len(mine.gpus):
        found = f"GPUs 0 to {len(mine.gpus) - 1}" if mine.gpus else "no GPU that TensorFlow can use"
        raise UsageError(f"--gpu_id {gpu_id}: does not exist; this machine has {found}")
    if not several:
        return (gpu_id or 0) if mine.gpus else None
    if not any(seen.gpus for seen in visible):
        return None
    if gpu_id is not None:
        raise UsageError(f"--gpu_id {gpu_id}: each of the {len(visible)} processes uses its own GPU")
    numbers = [_number(seen, [other for other in visible if other.host == seen.host]) for seen in visible]
    _require_equal([(seen, seen.gpus[number]) for seen, number in zip(visible, numbers, strict=True)])
    return numbers[rank]


def _number(seen: VisibleGpus, neighbours: Sequence[VisibleGpus]) -> int:
    """The number of the GPU of one process, given what all processes of its host see."""
    identities = [other.gpus[0].identity for other in neighbours if len(other.gpus) == 1]
    if all(identities) and len(set(identities)) == len(neighbours):
        return 0
    for other in neighbours:
        if other.gpus != neighbours[0].gpus:
            raise UsageError(
                f"{other.who} sees other GPUs than rank {neighbours[0].rank}: {_listed(other)}, not "
                f"{_listed(neighbours[0])}; CUDA_VISIBLE_DEVICES must be the same in all processes of a host, or name "
                "another GPU in each"
            )
    if seen.gpus and seen.local_rank >= len(seen.gpus):
        raise UsageError(
            f"{seen.who} is process {seen.local_rank + 1} of its host, which has {plural(len(seen.gpus), 'GPU')} "
            "that TensorFlow can use; launch fewer processes there (-np, HOSTS), or give --cpu"
        )
    if not seen.gpus:
        raise UsageError(
            f"{seen.who}: has no GPU that TensorFlow can use, but other processes have; launch on machines with "
            "GPUs (HOSTS), or give --cpu"
        )
    return seen.local_rank


def _listed(seen: VisibleGpus) -> str:
    return ", ".join(f"{gpu.name} {gpu.identity}".strip() for gpu in seen.gpus) or "none"


def _require_equal(taken: Sequence[tuple[VisibleGpus, Gpu]]) -> None:
    """Refuses GPUs of several kinds: the fastest would wait for the slowest, and kernels round differently."""
    first, gpu = taken[0]
    for seen, other in taken:
        if other.kind != gpu.kind:
            raise UsageError(
                f"the GPUs are of unequal kind: {first.who} has {gpu.kind}, {seen.who} has {other.kind}; choose equal "
                "ones with CUDA_VISIBLE_DEVICES or HOSTS"
            )


def _look(config: ExperimentConfig, communicator: Communicator, cards: Sequence[Card]) -> VisibleGpus:
    found = [] if config.run.cpu else tf.config.list_physical_devices("GPU")
    known = [card.identity for card in cards] if len(cards) == len(found) else [""] * len(found)
    return VisibleGpus(
        rank=communicator.rank,
        local_rank=communicator.local_rank,
        host=socket.gethostname(),
        gpus=tuple(_described(gpu, identity) for gpu, identity in zip(found, known, strict=True)),
        fault="" if found or config.run.cpu else unused_gpus(os.environ),
    )


def _described(gpu: Any, identity: str) -> Gpu:
    details = tf.config.experimental.get_device_details(gpu)
    return Gpu(details.get("device_name", gpu.name), tuple(details.get("compute_capability", ())), identity)


def unused_gpus(environ: Mapping[str, str]) -> str:
    """A sentence if the machine has GPUs that TensorFlow cannot use and the user has not hidden them, else ""."""
    count = 0 if hidden_by_user(environ) else count_in_machine()
    if not count:
        return ""
    built_for = tf.sysconfig.get_build_info().get("cuda_version") if tf.test.is_built_with_cuda() else None
    why = why_unusable(ask_driver(), built_for, environ)
    return f"TensorFlow cannot use the {plural(count, 'GPU')} of this machine: {why}; --cpu computes without"


def _memory_limit(fraction: float | None, cards: Sequence[Card], index: int) -> int | None:
    if fraction is None:
        return None
    memory = cards[index].memory_bytes if index < len(cards) else 0
    if not memory:
        raise UsageError(f"--gpu_memory_fraction {fraction:g}: the driver does not tell the memory of GPU {index}")
    return max(1, int(memory * fraction) // _MIB)


def try_gpu(gpu: ChosenGpu | None, options: Any, communicator: Communicator) -> None:
    """Computes a small product on the GPU of each process.

    Raises:
        RunError: It fails in any process: the GPU is in use, full or broken.
    """
    fault = ""
    if gpu is not None:
        try:
            _multiply(options)
        except tf.errors.OpError as error:
            fault = f"GPU {gpu.index} cannot be used: {device_failure(error) or reason(error)}"
    who = VisibleGpus(rank=communicator.rank, local_rank=communicator.local_rank, host=socket.gethostname()).who
    faults = [f"{who}: {fault}" if communicator.size > 1 else fault] if fault else []
    failed = [text for texts in communicator.gather(faults) for text in texts]
    if failed:
        raise RunError("; ".join(failed))


def _multiply(options: Any) -> None:
    strict = tf1.ConfigProto()
    strict.CopyFrom(options)
    strict.allow_soft_placement = False
    with tf.Graph().as_default(), tf.device(GPU), tf1.Session(config=strict) as session:
        matrix = tf1.placeholder_with_default(tf.ones([64, 64]), [64, 64])
        session.run(tf.matmul(matrix, matrix))
