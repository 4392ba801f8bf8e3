"""Large weights stay out of the conversion to ONNX and are back in the model afterwards."""

import numpy as np
import pytest
import tensorflow as tf

from runtime.artefacts import external_weights
from runtime.artefacts.artefact import INPUT
from runtime.artefacts.external_weights import with_external_weights
from runtime.artefacts.inference_graph import InferenceGraph
from runtime.artefacts.onnx_model import write_onnx
from tests.runtime.artefacts.exports import need_packages

need_packages("onnx")
import onnx  # noqa: E402
import onnxruntime  # noqa: E402

tf1 = tf.compat.v1
DRAW = np.random.default_rng(4)
KERNEL, SCALE, MATRIX, BIAS = (
    DRAW.normal(size=shape).astype(np.float32) for shape in ((3, 3, 2, 16), (16,), (16, 10), (16,))
)


@pytest.fixture
def network(monkeypatch):
    """Convolutions with a shared computed kernel, a matrix in a product and a sum, and an op with several constants."""
    monkeypatch.setattr(external_weights, "LARGE", 100)
    with tf.Graph().as_default() as graph:
        images = tf1.placeholder(tf.float32, [None, 8, 8, 8], name=INPUT)
        kernel = tf.constant(KERNEL, name="kernel") * tf.constant(SCALE)
        features = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(images, kernel, 2, padding="SAME"), BIAS))
        features = tf.nn.conv2d(features[..., :8], kernel, 1, padding="SAME")
        matrix = tf.constant(MATRIX, name="matrix")
        logits = tf.matmul(tf.reduce_mean(features, axis=[1, 2]), matrix) + tf.reduce_sum(matrix)
        low, high = tf.unstack(tf.constant([[-3.0], [3.0]]))
        tf.clip_by_value(logits, 10 * low, 10 * high, name="logits")
    return InferenceGraph(graph_def=graph.as_graph_def(), outputs=("logits",))


def logits(graph_def, given):
    with tf.Graph().as_default(), tf1.Session() as session:
        tf.import_graph_def(graph_def, name="")
        return session.run("logits:0", {f"{name}:0": value for name, value in given.items()})


def test_what_is_constant_is_computed_and_what_is_large_comes_from_outside(network):
    slim, weights = with_external_weights(network)
    kernel, matrix = sorted(weights.values(), key=lambda value: -value.ndim)
    np.testing.assert_array_equal(kernel, KERNEL * SCALE)
    np.testing.assert_array_equal(matrix, MATRIX)
    assert not [node.name for node in slim.graph_def.node if node.op == "Mul" or node.ByteSize() > 4 * 100]
    images = DRAW.normal(size=(3, 8, 8, 8)).astype(np.float32)
    expected = logits(network.graph_def, {INPUT: images})
    np.testing.assert_allclose(logits(slim.graph_def, {INPUT: images, **weights}), expected, rtol=1e-5, atol=1e-5)


def test_the_model_has_its_weights_and_one_input(network, tmp_path):
    counts = write_onnx(network, tmp_path / "model.onnx", {})
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    assert [given.name for given in model.graph.input] == [INPUT]
    stored = {tensor.name for tensor in model.graph.initializer}
    assert sum(tensor.dims[:] == [16, 2, 3, 3] for tensor in model.graph.initializer) == 1
    assert not [n for n in model.graph.node if n.op_type == "Transpose" and n.input[0] in stored]
    assert counts["Conv"] == 2
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = DRAW.normal(size=(2, 8, 8, 8)).astype(np.float32)
    (found,) = session.run(["logits"], {INPUT: images})
    np.testing.assert_allclose(found, logits(network.graph_def, {INPUT: images}), rtol=1e-4, atol=1e-4)
    assert np.ptp(found) > 1
