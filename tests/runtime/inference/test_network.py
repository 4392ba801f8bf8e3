"""What depends on weights alone is computed once for each loading, and changes no result."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from runtime.graphs import build_eval_graph
from runtime.inference.network import network_with_variables
from runtime.inference.onednn import keeps_kernels
from runtime.setup.set_up import set_up
from tests.runtime.processes import ALONE
from tests.runtime.runs import tiny_networks
from utils.cmdline_helper import parse
from utils.input.batching import Position, Shard

tf1 = tf.compat.v1
NETWORKS = [
    ("resnet50", ()),
    ("resnet18", ("--data_format=NCHW",)),
    ("se-resnext101-32x4d", ()),
    ("ssd320", ()),
    ("resnet50", ("--quantize", "--use_qdq", "--symmetric")),
    ("ssd320", ("--quantize",)),
]


def setup_of(architecture, *flags):
    return set_up(
        parse(
            [f"--arch={architecture}", "--mode=inference_benchmark", "--batch_size=2", "--seed=4", *flags], {}
        ).config,
        ALONE,
    )


def trained(session, weights):
    """Random weights of a network whose normalization changes every channel and whose head is not zero."""
    session.run(weights.initializer)
    numbers = np.random.default_rng(7)
    for variable in weights.variables:
        if "BatchNorm" in variable.op.name or variable.op.name.endswith(("dense/kernel", "dense/bias")):
            low, high = (0.5, 1.5) if variable.op.name.endswith(("gamma", "variance")) else (-0.5, 0.5)
            variable.load(numbers.uniform(low, high, variable.shape).astype(np.float32), session)


@contextlib.contextmanager
def running(setup, *, constant=False):
    """An evaluation graph and its session, with trained weights."""
    with tf.Graph().as_default():
        data = setup.task.data.input("validation", Shard(), Position())
    graph = build_eval_graph(setup.task, data, ALONE, constant=constant)
    with tf1.Session(graph=graph.graph) as session:
        graph.network.load(session, None, trained)
        session.run(data.initializer)
        yield graph, session


def as_trained(setup, images, ends):
    """The ends of a network that reads its variables for every batch."""
    with tf.Graph().as_default() as graph:
        placeholder = tf1.placeholder(tf.float32, images.shape)
        network = network_with_variables(setup.task, placeholder)
        with tf1.Session(graph=graph) as session:
            trained(session, network.weights)
            return session.run({end: network.endpoints[end] for end in ends}, {placeholder: images})


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "flags"), NETWORKS)
def test_prepared_weights_change_no_result(architecture, flags):
    with tiny_networks():
        setup = setup_of(architecture, *flags)
        ends = setup.task.post_processing.ends
        with running(setup) as (graph, session):
            assert_nothing_is_left_to_prepare(graph)
            images, found = session.run([graph.input.batch.images, {e: graph.network.endpoints[e] for e in ends}])
        with running(setup, constant=True) as (graph, session):
            fused = session.run({e: graph.network.endpoints[e] for e in ends})
        expected = as_trained(setup, images, ends)
    for end in ends:
        spread = np.abs(expected[end]).max()
        assert spread > 1e-3
        tolerance = 0.05 if "--quantize" in flags else 1e-5  # a value between two levels may round to either
        np.testing.assert_allclose(found[end], expected[end], atol=tolerance * spread)
        np.testing.assert_allclose(fused[end], expected[end], atol=tolerance * spread)


def assert_nothing_is_left_to_prepare(graph):
    """No operation of a batch depends on weights alone."""
    operations = graph.graph.get_operations()
    assert not {v.op.name for v in graph.network.weights.variables} & {operation.name for operation in operations}
    read = {operation.outputs[0].ref() for operation in operations if operation.type == "ReadVariableOp"}
    for operation in operations:
        if operation.type != "Identity" and operation.inputs:
            assert not all(tensor.ref() in read for tensor in operation.inputs), operation.name


def test_kernels_are_held_in_the_type_that_computes(monkeypatch):
    monkeypatch.setattr("runtime.setup.set_up.cpu_features", lambda: frozenset({"avx512_bf16"}))
    with tiny_networks(), tf.Graph().as_default():
        setup = setup_of("resnet18", "--amp")
        data = setup.task.data.input("validation", Shard(), Position())
        graph = build_eval_graph(setup.task, data, ALONE)
    assert {variable.dtype for variable in graph.network.held if len(variable.shape) == 4} == {tf.bfloat16}


def test_a_session_takes_the_weights_of_every_loading():
    def zeros(session, weights):
        for variable in weights.variables:
            variable.load(np.zeros(variable.shape, np.float32), session)

    with tiny_networks(), running(setup_of("resnet18")) as (graph, session):
        before = session.run(graph.outputs["logits"])
        graph.network.load(session, None, zeros)
        session.run(graph.input.initializer)
        assert not session.run(graph.outputs["logits"]).any()
        graph.network.load(session, None, trained)
        session.run(graph.input.initializer)
        np.testing.assert_array_equal(session.run(graph.outputs["logits"]), before)


@pytest.mark.parametrize(
    ("architecture", "chains"),
    [
        ("resnet50", {("BiasAdd", "Relu"), ("BiasAdd",), ("BiasAdd", "Add", "Relu")}),
        # The gate stands before the addition, so only a projected shortcut takes it.
        ("se-resnext101-32x4d", {("BiasAdd", "Relu"), ("BiasAdd",), ("BiasAdd", "Add", "Relu")}),
        (
            "ssd320",
            {("BiasAdd", "Relu6"), ("BiasAdd",), ("BiasAdd", "Add", "Relu"), ("BiasAdd", "Add")},
        ),
    ],
)
def test_every_convolution_keeps_its_kernel_and_takes_what_follows(architecture, chains):
    with tiny_networks():
        setup = setup_of(architecture)
        if not keeps_kernels(setup):
            pytest.skip("this TensorFlow or machine has no oneDNN")
        with running(setup, constant=True) as (graph, _):
            operations = graph.graph.get_operations()
    fused = [operation for operation in operations if operation.type == "_MklNativeFusedConv2D"]
    assert not [operation.name for operation in operations if operation.type == "Conv2D"]
    assert {tuple(step.decode() for step in operation.get_attr("fused_ops")) for operation in fused} == chains
    shared = {"BoxPredictionTower", "ClassPredictionTower", "BoxPredictor", "ClassPredictor"}  # by all levels
    for operation in fused:
        shares = any(part in operation.name for part in shared)
        assert operation.get_attr("is_filter_const") is not shares, operation.name


@pytest.mark.parametrize("flags", [("--xla",), ("--data_format=NCHW",)])
def test_kernels_are_not_kept_where_that_would_not_help(flags, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit=true")
    with tiny_networks():
        assert not keeps_kernels(setup_of("resnet18", *flags))


def test_without_onednn_kernels_are_not_kept(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    with tiny_networks():
        assert not keeps_kernels(setup_of("resnet18"))
