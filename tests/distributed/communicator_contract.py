"""The contract of every communicator; each process of a launch checks it."""

import os
import time
from unittest import mock

import numpy as np
import tensorflow as tf

from tests.runtime.pretended_gpus import context_is_initialized
from utils.hvd_utils import communicator
from utils.local_communicator import LocalCommunicator

tf1 = tf.compat.v1


def check(processes):
    """Asserts that the communicator of this process keeps the contract."""
    ranks = list(range(processes.size))
    assert processes.rank in ranks
    assert 0 <= processes.local_rank < processes.size
    assert 1 <= processes.threads <= os.cpu_count()
    _check_values(processes, ranks)
    _check_tensors(processes, np.mean(ranks))
    if isinstance(processes, LocalCommunicator):  # Horovod's own threads agree on an order
        _check_order(processes, np.mean(ranks))


def _check_values(processes, ranks):
    mine = {"rank": processes.rank, "weights": np.full(processes.rank * 1000, processes.rank)}
    found = processes.gather(mine)
    assert [value["rank"] for value in found] == ranks
    assert [value["weights"].tolist() for value in found] == [[rank] * rank * 1000 for rank in ranks]
    assert processes.broadcast(f"from {processes.rank}") == "from 0"
    assert processes.broadcast(None) is None
    assert processes.any(processes.rank == ranks[-1]) is True
    assert processes.any(False) is False
    processes.barrier()


def _check_tensors(processes, mean):
    with tf.Graph().as_default():
        own = tf1.get_variable(
            "own", initializer=tf.constant([1.0, 2.0]) * float(processes.rank + 1), use_resource=True
        )
        average = processes.average(own)
        (slope,) = tf1.gradients(tf.reduce_sum(average) * float(processes.rank + 1), own)
        ((gradient, variable),) = processes.average_gradients([(own * 2.0, own)])
        take_over = processes.take_over([own])
        with tf1.Session() as session:
            session.run(own.initializer)
            np.testing.assert_allclose(session.run(average), [mean + 1, 2 * (mean + 1)], rtol=1e-6)
            # of the sum of all processes' losses, each a multiple of the average
            np.testing.assert_allclose(session.run(slope), [mean + 1] * 2, rtol=1e-6)
            np.testing.assert_allclose(session.run(gradient), [2 * (mean + 1), 4 * (mean + 1)], rtol=1e-3)
            assert variable is own
            _check_gradients(processes, mean, session)
            session.run(take_over)
            np.testing.assert_array_equal(session.run(own), [1.0, 2.0])


def _check_gradients(processes, mean, session):
    """Gradients of several types and sizes, which travel in groups."""
    shapes = [(2, 3), (), (5,), (1, 1, 4), (3,)]
    types = [tf.float32, tf.float32, tf.float64, tf.float32, tf.float32]
    variables = [
        tf1.get_variable(f"v{n}", shape, dtype, tf1.zeros_initializer(), use_resource=True)
        for n, (shape, dtype) in enumerate(zip(shapes, types, strict=True))
    ]
    own = [
        tf.fill(shape, tf.constant(n + processes.rank, dtype))
        for n, (shape, dtype) in enumerate(zip(shapes, types, strict=True))
    ]
    with mock.patch("utils.hvd_utils.BUCKET_VALUES", 4):
        pairs = processes.average_gradients(list(zip(own, variables, strict=True)))
    assert [variable.name for _, variable in pairs] == [variable.name for variable in variables]
    for n, value in enumerate(session.run([gradient for gradient, _ in pairs])):
        assert value.shape == shapes[n]
        np.testing.assert_allclose(value, np.full(shapes[n], n + mean), rtol=1e-3)


def _check_order(processes, mean):
    """Averages that do not depend on each other may be ready in another order in each process."""
    with tf.Graph().as_default():
        own = [tf.fill([length], float(processes.rank)) for length in (2, 3)]
        late = processes.rank % 2
        with tf.control_dependencies([own[1 - late]]):
            wait = tf.numpy_function(lambda: np.float32(time.sleep(0.05) or 0), [], tf.float32)
        own[late] += wait
        averages = [processes.average(each) for each in own]
        options = tf1.ConfigProto(inter_op_parallelism_threads=1, use_per_session_threads=True)
        with tf1.Session(config=options) as session:
            for found in session.run(averages):
                np.testing.assert_allclose(found, np.full(found.shape, mean), rtol=1e-6)


def keep(flags):
    """Checks the communicator of this process and prints the result."""
    assert not flags
    before = context_is_initialized()
    this = communicator(os.environ)
    _check_values(this, list(range(this.size)))
    assert context_is_initialized() == before, "TensorFlow takes all GPUs before a process can choose its own"
    check(this)
    print(f"rank {this.rank} of {this.size} keeps the contract", flush=True)
    this.barrier()
    return 0
