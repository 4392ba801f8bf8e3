"""TensorFlow's graph optimizer at work for a GPU that is not there."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, device_properties_pb2
from tensorflow.python.grappler import cluster, tf_optimizer
from tensorflow.python.training import saver

from tests.gpu.kernels import KernelTable

CARDS = {"V100": "7.0", "A100": "8.0", "H100": "9.0"}
"""Compute capability of each card."""
_DEVICE = "/job:localhost/replica:0/task:0/device:{}:0"
_GIGABYTES = 2**30


def optimized(graph: tf.Graph, fetches: Any, table: KernelTable, card: str) -> Any:
    """Returns the definition of a graph as a session on a machine with this card would run it."""
    with graph.as_default():
        graph.clear_collection("train_op")  # optimizers add their updates
        for fetched in tf.nest.flatten(fetches):
            operation = fetched if isinstance(fetched, tf.Operation) else fetched.op
            tf.compat.v1.add_to_collection("train_op", operation)  # tells the optimizer what to keep
        meta_graph = saver.export_meta_graph(graph=graph, graph_def=graph.as_graph_def(add_shapes=True))
    for node in meta_graph.graph_def.node:
        on_cpu = "CPU" in node.device or "Dataset" in node.op or table.choose(node) is None
        node.device = _DEVICE.format("CPU" if on_cpu else "GPU")
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1
    return tf_optimizer.OptimizeGraph(config, meta_graph, cluster=_machine(card), verbose=False)


def _machine(card: str) -> Any:
    """A host with one GPU."""
    processor = device_properties_pb2.DeviceProperties(
        type="CPU", frequency=2500, num_cores=16, memory_size=64 * _GIGABYTES
    )
    gpu = device_properties_pb2.DeviceProperties(
        type="GPU",
        vendor="NVIDIA",
        model=card,
        frequency=1500,
        num_cores=80,
        memory_size=16 * _GIGABYTES,
        bandwidth=900_000_000,
        environment={"architecture": CARDS[card], "cuda": "12050", "cudnn": "91000"},
    )
    devices = [
        device_properties_pb2.NamedDevice(properties=properties, name=_DEVICE.format(properties.type))
        for properties in (processor, gpu)
    ]
    return cluster.Cluster(devices=devices)
