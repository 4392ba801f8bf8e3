"""Turns large weights into inputs, for a converter that copies its graph many times."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.artefacts.inference_graph import InferenceGraph
from utils.host_session import on_host

tf1 = tf.compat.v1
LARGE = 16_384
"""Smallest number of elements of an external weight; biases and normalization weights stay below it."""


def with_external_weights(network: InferenceGraph) -> tuple[InferenceGraph, dict[str, np.ndarray]]:
    """Folds everything that does not depend on the input and turns large constants into placeholders.

    Returns:
        The network with a placeholder for each large weight, and the values by the name of the placeholder.
    """
    varying = _varying(network)
    nodes = [node for node in network.graph_def.node if node.name in varying]
    sources = sorted({source for node in nodes for source in node.input if not source.startswith("^")})
    stand_ins = {source: source.replace(":", "_output_") for source in sources if _name(source) not in varying}
    with tf.Graph().as_default(), tf1.Session(config=_without_optimization()) as session:
        tf.import_graph_def(network.graph_def, name="")
        tensors = {name: source if ":" in source else f"{source}:0" for source, name in stand_ins.items()}
        values = session.run(tensors)
    large = {name: value for name, value in values.items() if value.size >= LARGE}
    with tf.Graph().as_default() as graph:
        for name, value in values.items():
            if name in large:
                tf1.placeholder(value.dtype, value.shape, name=name)
            else:
                tf.constant(value, name=name)
    graph_def = graph.as_graph_def()
    for node in nodes:
        inputs = [stand_ins.get(s, s) for s in node.input if s in stand_ins or _name(s) in varying]
        added = graph_def.node.add()
        added.CopyFrom(node)
        del added.input[:]
        added.input.extend(inputs)
    return InferenceGraph(graph_def=graph_def, outputs=network.outputs), large


def _without_optimization() -> Any:
    """Options of a session on the CPU that avoid a second copy of all constants."""
    config = on_host()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = tf1.OptimizerOptions.L0
    return config


def _varying(network: InferenceGraph) -> Collection[str]:
    """The nodes that depend on a placeholder, and the outputs; the nodes are in topological order."""
    found = set(network.outputs)
    for node in network.graph_def.node:
        if node.op == "Placeholder" or any(_name(source) in found for source in node.input):
            found.add(node.name)
    return found


def _name(source: str) -> str:
    """The node that an input string refers to: "name", "name:1" or "^name"."""
    return source.removeprefix("^").partition(":")[0]
