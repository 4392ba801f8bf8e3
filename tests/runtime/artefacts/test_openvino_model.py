"""Networks that were trained with quantization compute in OpenVINO what TensorFlow computes, with kernels in int8."""

import numpy as np
import pytest
import tensorflow as tf

from runtime.artefacts.inference_graph import InferenceGraph
from runtime.artefacts.model_dir import _in_mixed_precision, open_artefact
from runtime.artefacts.openvino_model import convert, not_in_int8, operators, write_openvino
from tests.runtime.artefacts.exports import need_packages

need_packages("openvino")
tf1 = tf.compat.v1
DRAW = np.random.default_rng(0)
IMAGES = DRAW.uniform(0, 255, (4, 8, 8, 4)).astype(np.float32)


def in_steps(values, high):
    return tf.quantization.fake_quant_with_min_max_vars(values, 0.0, high)


def quantized_kernel(kernel, per_channel):
    if not per_channel:
        return tf.quantization.fake_quant_with_min_max_vars(kernel, -3.0, 3.0, narrow_range=True)
    ends = np.full(kernel.shape[-1], 3.0, np.float32)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -ends, ends, narrow_range=True)


@pytest.mark.parametrize("per_channel", [False, True])
def test_trained_ranges_become_int8(tmp_path, per_channel):
    kernel, matrix = (DRAW.normal(size=shape).astype(np.float32) for shape in ((3, 3, 2, 8), (8, 5)))
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        images = tf1.placeholder(tf.float32, [None, 8, 8, 4], name="input")
        found = tf.nn.conv2d(in_steps(images, 255.0), quantized_kernel(kernel, per_channel), 1, "SAME")
        mean = tf.reduce_mean(in_steps(tf.nn.relu(found), 2000.0), [1, 2])
        logits = tf.identity(tf.matmul(mean, quantized_kernel(matrix, per_channel=False)), name="logits")
        expected = session.run(logits, {images: IMAGES})
    model = convert(InferenceGraph(graph_def=graph.as_graph_def(), outputs=("logits",)), "--format openvino")
    counts = operators(model)
    assert (counts["GroupConvolution int8"], counts["MatMul int8"], not_in_int8(counts)) == (1, 1, [])
    write_openvino(model, tmp_path / "model.xml", {})
    artefact = open_artefact(tmp_path / "model.xml", 1)
    with tf.Graph().as_default(), tf1.Session() as session:
        actual = session.run(artefact.forward(tf.constant(IMAGES))["logits"])
    assert np.linalg.norm(actual - expected) < 0.01 * np.linalg.norm(expected)  # AVX2 saturates sums of two products


def float_model(folder):
    """A convolution as a model with metadata."""
    kernel = DRAW.normal(size=(3, 3, 4, 8)).astype(np.float32)
    with tf.Graph().as_default() as graph:
        images = tf1.placeholder(tf.float32, [None, 8, 8, 4], name="input")
        tf.identity(tf.reduce_mean(tf.nn.conv2d(images, kernel, 1, "SAME"), [1, 2]), name="logits")
    model = convert(InferenceGraph(graph_def=graph.as_graph_def(), outputs=("logits",)), "--format openvino")
    write_openvino(model, folder / "model.xml", {})
    return open_artefact(folder / "model.xml", 1)


def logits(artefact):
    with tf.Graph().as_default(), tf1.Session() as session:
        return session.run(artefact.forward(tf.constant(IMAGES))["logits"])


def test_a_float32_model_computes_in_bfloat16_on_request(tmp_path):
    artefact = float_model(tmp_path)
    faster = artefact.in_bfloat16()
    assert (artefact.precision, faster.precision) == ("float32", "bfloat16")
    exact, rounded = logits(artefact), logits(faster)
    assert np.linalg.norm(rounded - exact) < 0.03 * np.linalg.norm(exact)


@pytest.mark.parametrize(
    ("features", "precision", "message"),
    [({"avx512_bf16"}, "bfloat16", None), (set(), "float32", "has no instructions for bfloat16")],
)
def test_amp_is_bfloat16_where_the_cpu_has_it(features, precision, message, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("runtime.artefacts.model_dir.cpu_features", lambda: frozenset(features))
    chosen = _in_mixed_precision(float_model(tmp_path))
    assert chosen.precision == precision
    assert (message or "") in caplog.text
    assert bool(caplog.records) is (message is not None)
