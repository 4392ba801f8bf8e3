"""The communicator of several processes on one machine; needs no package and no compiler.

The processes exchange data through the machine's memory. A Python function in the graph does so, and blocks a thread of
the session until the other processes have come to the same point. These functions therefore run one after the other, in
the order of their construction: out of order, two processes with one thread each could wait for each other forever.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from utils.system.cpu_shares import fair_share


class Place(NamedTuple):
    """The place of a process in a launch.

    Attributes:
        rank: Number of the process among all.
        size: Number of processes.
        local_rank: Number of the process among those of its machine.
        local_size: Number of processes of its machine.
        job: Name of the launch, which other launches do not have.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    job: str


@dataclass(frozen=True)
class Launcher:
    """Names of the environment variables by which a launcher tells a process its place.

    Attributes:
        size: Number of processes.
        rank: Number of this process among all.
        local_rank: Number of this process among those of its machine.
        local_size: Number of processes of this machine.
        job: Name of the launch.
    """

    size: str
    rank: str
    local_rank: str
    local_size: str
    job: str

    def place(self, environ: Mapping[str, str]) -> Place:
        """The place of this process in a launch of this launcher."""
        rank, size, local_rank, local_size = (
            int(environ[name]) for name in (self.rank, self.size, self.local_rank, self.local_size)
        )
        return Place(rank, size, local_rank, local_size, environ[self.job])

    def started_all_here(self, environ: Mapping[str, str]) -> bool:
        """Returns whether this launcher started this process and all others on this machine."""
        return self.started(environ) and environ[self.size] == environ[self.local_size]

    def started(self, environ: Mapping[str, str]) -> bool:
        """Returns whether this launcher started this process."""
        return all(name in environ for name in astuple(self))


OWN = Launcher("LAUNCH_SIZE", "LAUNCH_RANK", "LAUNCH_RANK", "LAUNCH_SIZE", "LAUNCH_JOB")
"""``python -m tools.launch``, which starts processes that nothing else could connect."""
OPEN_MPI = Launcher(
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "PMIX_NAMESPACE",
)
_HOROVODRUN = Launcher(
    "HOROVOD_SIZE", "HOROVOD_RANK", "HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE", "HOROVOD_GLOO_RENDEZVOUS_PORT"
)


def place_in(environ: Mapping[str, str]) -> Place | None:
    """The place of this process, or None if it was started alone or by a launcher that does not tell it."""
    launchers = (launcher for launcher in (OWN, OPEN_MPI, _HOROVODRUN) if launcher.started(environ))
    return next((launcher.place(environ) for launcher in launchers), None)


class LocalCommunicator:
    """The communicator of processes on one machine.

    Args:
        launcher: The launcher that started them.
        environ: The environment variables of this process.
        fp16_compression: Exchange gradients as float16.

    Raises:
        RunError: Not all processes were connected in time.
    """

    def __init__(self, launcher: Launcher, environ: Mapping[str, str], *, fp16_compression: bool = False) -> None:
        from utils.system.shared_memory import Neighbours, SharedMemory  # not at the top: needs NumPy

        self.rank = int(environ[launcher.rank])
        self.local_rank = int(environ[launcher.local_rank])
        self.size = int(environ[launcher.size])
        self._fp16_compression = fp16_compression
        # Two connections: the program and the threads of a session never read each other's messages.
        self._neighbours = Neighbours(self.rank, self.size, f"{environ[launcher.job]}-values")
        self._memory = SharedMemory(Neighbours(self.rank, self.size, f"{environ[launcher.job]}-arrays"))
        self._last: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        self.threads = fair_share(self.gather(("", sorted(os.sched_getaffinity(0)))), self.rank)

    def average(self, tensor: Any) -> Any:
        import tensorflow as tf  # not at the top: the command line is parsed before TensorFlow is loaded

        @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow is not typed
        def averaged(own: Any) -> tuple[Any, Any]:
            return self._means([own])[0], self.average

        return averaged(tf.convert_to_tensor(tensor))

    def average_gradients(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        import tensorflow as tf

        gradients = [tf.convert_to_tensor(gradient) for gradient, _ in pairs]
        narrow = [tf.cast(each, tf.float16) if self._fp16_compression else each for each in gradients]
        means = [tf.cast(mean, each.dtype) for mean, each in zip(self._means(narrow), gradients, strict=True)]
        return [(mean, variable) for mean, (_, variable) in zip(means, pairs, strict=True)]

    def _means(self, tensors: Sequence[Any]) -> list[Any]:
        """The means of floating-point tensors over all processes."""
        import tensorflow as tf

        graph = tf.compat.v1.get_default_graph()
        before = [graph.get_operation_by_name(self._last[graph])] if graph in self._last else []
        with tf.control_dependencies(before):
            kinds = [tensor.dtype for tensor in tensors]
            means = tf.numpy_function(lambda *arrays: self._memory.mean(arrays), tensors, kinds, name="mean_of_ranks")
        self._last[graph] = means[0].op.name
        for mean, tensor in zip(means, tensors, strict=True):
            mean.set_shape(tensor.shape)
        return list(means)

    def take_over(self, variables: Sequence[Any]) -> Any:
        import tensorflow as tf

        values = [variable.read_value() for variable in variables]
        kinds = [value.dtype for value in values]
        firsts = tf.numpy_function(self._firsts, values, kinds, name="values_of_rank_0")
        return tf.group(*(variable.assign(first) for variable, first in zip(variables, firsts, strict=True)))

    def _firsts(self, *arrays: Any) -> list[Any]:
        return [self._memory.first(array) for array in arrays]

    def gather(self, value: Any) -> list[Any]:
        return [pickle.loads(content) for content in self._neighbours.gather(pickle.dumps(value))]

    def broadcast(self, value: Any) -> Any:
        return self.gather(value if self.rank == 0 else None)[0]

    def any(self, flag: bool) -> bool:
        return any(self.gather(flag))

    def barrier(self) -> None:
        self._neighbours.meet()
