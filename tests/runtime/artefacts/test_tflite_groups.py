"""Narrow groups of int8 convolutions are merged without changing any result."""

import numpy as np
import pytest
import tensorflow as tf

from runtime.artefacts.artefact import INPUT
from runtime.artefacts.inference_graph import InferenceGraph
from runtime.artefacts.tflite_groups import TILE, merge_groups, widen_groups
from runtime.artefacts.tflite_model import convert
from tests.runtime.artefacts.exports import need_packages

need_packages("tflite")
from ai_edge_litert import interpreter as litert  # noqa: E402
from tensorflow.lite.tools import flatbuffer_utils  # noqa: E402

tf1 = tf.compat.v1


def convolved(images, filters, groups):
    """A second implementation of a grouped convolution in integers, without padding."""
    outputs, height, width, channels = filters.shape
    rows, columns = images.shape[0] - height + 1, images.shape[1] - width + 1
    result = np.zeros((rows, columns, outputs), np.int64)
    for number in range(outputs):
        first = number // (outputs // groups) * channels
        for i, j in np.ndindex(rows, columns):
            patch = images[i : i + height, j : j + width, first : first + channels].astype(np.int64)
            result[i, j, number] = (patch * filters[number]).sum()
    return result


@pytest.mark.parametrize(("groups", "channels", "left"), [(32, 4, 2), (32, 16, 8), (4, 8, 1), (3, 20, 1), (3, 40, 3)])
def test_fewer_groups_convolve_to_the_same(groups, channels, left):
    draw = np.random.default_rng(1)
    filters = draw.integers(-127, 128, (groups * channels, 3, 3, channels), np.int8)
    images = draw.integers(-128, 128, (4, 4, groups * channels), np.int8)
    wider = merge_groups(filters, groups)
    assert wider.shape == (groups * channels, 3, 3, groups * channels // left)
    assert wider.shape[3] <= max(TILE, channels)
    np.testing.assert_array_equal(convolved(images, wider, left), convolved(images, filters, groups))


def model(filters, groups):
    """An int8 model of one grouped convolution, and its input as images."""
    shape = (1, 6, 6, filters.shape[2] * groups)
    with tf.Graph().as_default() as graph:
        images = tf1.placeholder(tf.float32, shape, name=INPUT)
        tf.nn.conv2d(images, filters, 1, padding="SAME", name="features")
    samples = np.random.default_rng(2).normal(size=(4, *shape)).astype(np.float32)
    network = InferenceGraph(graph_def=graph.as_graph_def(), outputs=("features",))
    return convert(network, network.outputs, "int8", lambda: samples), samples[0]


def ran(content, images):
    interpreter = litert.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_a_rewritten_model_computes_the_same_bits():
    filters = np.random.default_rng(3).normal(size=(3, 3, 4, 32)).astype(np.float32)
    content, images = model(filters, groups=8)
    parts = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    assert widen_groups(parts) == 1
    assert widen_groups(parts) == 0  # once is enough
    rewritten = bytes(flatbuffer_utils.convert_object_to_bytearray(parts))
    assert len(rewritten) < len(content) + 8 * filters.size + 256  # the old kernel is gone
    found, expected = ran(rewritten, images), ran(content, images)
    assert np.ptp(expected) > 1
    np.testing.assert_array_equal(found, expected)
