"""The graphs of tiny networks, placed on a GPU by the recorded table of its kernels: all of it runs there.

Whole networks follow in tests/gpu, where TensorFlow has the kernels themselves.
"""

import pytest
import tensorflow as tf

from tests.gpu.graphs import TINY_CASES, TRAINING, build, staging_of_device_images
from tests.gpu.kernels import UnknownOperationError, recorded_kernels
from tests.gpu.placement import audit
from tests.runtime.runs import tiny_networks

KERNELS = recorded_kernels()


@pytest.mark.parametrize("case", TINY_CASES, ids=str)
def test_a_step_runs_on_the_gpu_and_hardly_waits_for_the_host(case):
    with tiny_networks():
        found = audit(*build(case), KERNELS)
    assert found.without_kernel == {}
    assert len(found.copies) <= case.copies, found.copies
    assert found.operations.total() > (100 if case.kind == TRAINING else 50)


def test_images_that_are_on_the_gpu_are_staged_without_the_host():
    found = audit(*staging_of_device_images(), KERNELS)
    assert found.without_kernel == {}
    assert found.copies == {}
    assert {"EagerPyFunc", "Stage"} <= found.operations.keys()


def audited(compute):
    with tf.Graph().as_default() as graph:
        return audit(graph, compute(tf.compat.v1.placeholder(tf.float32, [4], "given")), KERNELS)


def test_a_node_without_a_kernel_and_what_it_copies_are_found():
    found = audited(lambda given: tf.argmax(tf.cast(given, tf.int8), name="best"))
    assert found.without_kernel == {"ArgMax(int32, int64, int8)": ("best",)}
    assert found.copies == {"Cast:0": ("ArgMax",)}
    assert found.fetched == 0


def test_whole_numbers_of_32_bits_are_computed_on_the_host():
    found = audited(lambda given: tf.maximum(tf.cast(given, tf.int32), 1))
    assert found.without_kernel == {}
    assert found.copies == {"Cast:0": ("Maximum",)}
    assert audited(lambda given: tf.maximum(tf.cast(given, tf.int64), 1)).copies == {}


def test_a_condition_is_copied_and_its_branches_stay():
    found = audited(lambda given: tf.cond(given[0] > 0, lambda: given + 1, lambda: tf.round(given)))
    assert list(found.copies.values()) == [("Switch",)]
    assert {"AddV2", "Round", "Merge"} <= set(found.operations)
    assert found.fetched == 1


def test_each_round_of_a_loop_copies_its_condition():
    found = audited(lambda given: tf.while_loop(lambda x: tf.reduce_any(x > 0), lambda x: x - 1, [given])[0])
    assert list(found.copies.values()) == [("LoopCond",)]
    assert {"Sub", "Exit"} <= set(found.operations)


def test_what_is_bound_to_the_cpu_gets_its_inputs_there():
    def compute(given):
        with tf.device("/CPU:0"):
            return tf.round(given + 1, name="bound")

    found = audited(compute)
    assert found.copies == {"given:0": ("AddV2",)}
    assert (found.without_kernel, found.fetched) == ({}, 0)


def test_an_unknown_operation_says_how_it_is_recorded():
    with pytest.raises(
        UnknownOperationError, match=r"Digamma: not in kernels.json; python -m tests.gpu.record adds it"
    ):
        audited(tf.math.digamma)
