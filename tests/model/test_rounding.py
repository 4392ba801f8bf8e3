"""Rounding element by element, as on GPUs, against TensorFlow's own operations."""

import numpy as np
import pytest
import tensorflow as tf

from model.layers.rounding import nudged, scaled
from model.layers.variable import tf1


def ranges_and_values(random, shape, case):
    """Draws ranges of this shape, of a kind that depends on ``case``, and values around all levels and ends."""
    size = 10.0 ** random.integers(-6, 5)
    low, high = -np.abs(random.normal(size=shape)) * size, np.abs(random.normal(size=shape)) * size
    kinds = [
        (low, high),
        (0 * low, high),
        (low, 0 * high),
        (-high, high),
        (-high * 128 / 127, high),
        (0 * low, 0 * high),
    ]
    low, high = (np.asarray(end, np.float32) for end in kinds[case % len(kinds)])
    halves = (random.integers(-600, 600, (200, 8)) / 2).astype(np.float32)
    ends = np.stack(np.broadcast_arrays(low, high, np.inf, -np.inf, 0.0, -0.0, np.zeros(8)))[:-1]
    parts = (random.normal(size=(200, 8)) * size, halves * (high - low) / 255, halves * (high - low) / 254, ends)
    return low, high, np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize("shape", [(), (8,)], ids=["one range", "a range per channel"])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("operation", [nudged, scaled])
def test_rounding_by_element_gives_the_bits_of_tensorflows_operations(operation, narrow, shape):
    random = np.random.default_rng(3)
    with tf.Graph().as_default(), tf1.Session() as session:
        low, high, values, upstream = (tf1.placeholder(tf.float32, s) for s in (shape, shape, [None, 8], [None, 8]))
        outputs = [operation(values, low, high, narrow=narrow, device=device) for device in ("cpu", "gpu")]
        gradients = [tf.gradients(output, values, upstream)[0] for output in outputs]
        for case in range(120):
            given_low, given_high, given = ranges_and_values(random, shape, case)
            given_upstream = random.normal(size=given.shape)
            fed = {low: given_low, high: given_high, values: given, upstream: given_upstream}
            (cpu, gpu), (cpu_gradient, gpu_gradient) = session.run([outputs, gradients], fed)
            np.testing.assert_array_equal(gpu.view(np.int32), cpu.view(np.int32), f"{given_low} to {given_high}")
            np.testing.assert_array_equal(gpu_gradient.view(np.int32), cpu_gradient.view(np.int32))


@pytest.mark.parametrize("operation", [nudged, scaled])
def test_on_a_gpu_no_kernel_rounds_whose_gradient_is_not_deterministic(operation):
    """TensorFlow's FakeQuant kernels for GPUs refuse to differentiate if operations have to be deterministic."""
    with tf.Graph().as_default() as graph:
        values, low, high = tf.zeros([2, 8]), tf.zeros([8]), tf.ones([8])
        tf.gradients(operation(values, low, high, narrow=False, device="gpu"), values)
        assert [node.name for node in graph.get_operations() if "Quant" in node.type] == []
