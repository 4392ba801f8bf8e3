"""The time to average 25 and 100 MB between processes: by this project, by Horovod and by TensorFlow, in turn.

    .venv/bin/mpiexec --allow-run-as-root --bind-to none -np 2 .venv/bin/python -m tests.benchmarks.all_reduce
    .venv/bin/horovodrun --gloo -np 2 .venv/bin/python -m tests.benchmarks.all_reduce [--rounds 15]

Horovod works over MPI under mpiexec, and over Gloo under ``horovodrun --gloo``. TensorFlow's own collective operation
is a ring between its servers, over gRPC. A round counts the time of the slowest process; each has one thread.
"""

import argparse
import time

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.ops import collective_ops

from tests.benchmarks.common import json_line, load_at_start, table
from utils.hvd_utils import HorovodCommunicator
from utils.local_communicator import OWN, LocalCommunicator

tf1 = tf.compat.v1
MEGABYTES = (25, 100)
FIRST_PORT = 13500


class Contestant:
    """One way to average, with a graph and a session for each size."""

    def __init__(self, rank, average, target="", options=None, config=None):
        self._options = options
        self._runs = {}
        for megabytes in MEGABYTES:
            with tf.Graph().as_default() as graph:
                first = tf1.constant_initializer(rank)
                own = tf1.get_local_variable(f"own_{megabytes}", [megabytes * 250_000], initializer=first)
                mean = average(own.read_value())
                last = mean[-1]
                session = tf1.Session(target, graph=graph, config=config or one_thread())
                session.run(own.initializer)
            self._runs[megabytes] = session, mean.op, last

    def check(self, megabytes, expected):
        session, _, last = self._runs[megabytes]
        assert session.run(last, options=self._options) == expected

    def seconds(self, megabytes):
        session, operation, _ = self._runs[megabytes]
        began = time.perf_counter()
        session.run(operation, options=self._options)
        return time.perf_counter() - began


def one_thread():
    return tf1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=2)


def tensorflows_ring(rank, size):
    """A contestant that averages by TensorFlow's collective operation."""
    task = "/job:worker/replica:0/task:"
    config = one_thread()
    config.experimental.collective_group_leader = f"{task}0"
    config.device_filters.append(f"{task}{rank}")
    cluster = tf.train.ClusterSpec({"worker": [f"localhost:{FIRST_PORT + each}" for each in range(size)]})
    server = tf.distribute.Server(cluster, job_name="worker", task_index=rank, config=config)
    options = config_pb2.RunOptions()
    options.experimental.collective_graph_key = 1
    keys = iter(range(1, 1 + len(MEGABYTES)))

    def average(tensor):
        with tf.device(f"{task}{rank}/device:CPU:0"):
            return collective_ops.all_reduce(tensor, size, 1, next(keys), "Add", "Div", communication_hint="ring")

    return Contestant(rank, average, server.target, options, config)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=15)
    rounds = arguments.parse_args().rounds
    import horovod.tensorflow as hvd

    load = load_at_start()
    hvd.init()
    horovod = HorovodCommunicator(hvd.size(), "a launcher")
    place = {OWN.size: str(horovod.size), OWN.rank: str(horovod.rank), OWN.job: horovod.broadcast(str(time.time_ns()))}
    contestants = {
        "this project": Contestant(horovod.rank, LocalCommunicator(OWN, place).average),
        "horovod": Contestant(horovod.rank, horovod.average),
        "tensorflow": tensorflows_ring(horovod.rank, horovod.size),
    }
    for megabytes in MEGABYTES:
        for contestant in contestants.values():
            contestant.check(megabytes, (horovod.size - 1) / 2)
        measured = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, contestant in contestants.items():
                horovod.barrier()
                measured[name].append(contestant.seconds(megabytes))
        slowest = {name: np.max(horovod.gather(seconds), axis=0).tolist() for name, seconds in measured.items()}
        if horovod.rank == 0:
            milliseconds = {name: [1e3 * each for each in found] for name, found in slowest.items()}
            print(f"{megabytes} MB, ms")
            table(milliseconds, decimals=1)
            figures = {f"{name.replace(' ', '_')}_ms": found for name, found in milliseconds.items()}
            library = "mpi" if hvd.mpi_enabled() else "gloo"
            json_line(benchmark="all_reduce", megabytes=megabytes, horovod=library, load=load, **figures)
    horovod.barrier()


if __name__ == "__main__":
    main()
