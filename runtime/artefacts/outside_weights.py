"""A network whose large weights are inputs, for a converter that copies its graph again and again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.artefacts.network import ConstantNetwork

tf1 = tf.compat.v1
LARGE = 16_384
"""Numbers from which on a weight is given from outside; normalization's and biases are always inside."""


def with_weights_outside(network: ConstantNetwork) -> tuple[ConstantNetwork, dict[str, np.ndarray]]:
    """The network with what does not depend on its input computed, and what of that is large taken out.

    Returns:
        The network, in which each large weight is a placeholder, and their values by the placeholder's name.
    """
    nodes = network.graph_def.node
    varying = _varying(network)
    needed = {_name(source) for node in nodes if node.name in varying for source in node.input} - varying
    with tf.Graph().as_default(), tf1.Session(config=_as_it_stands()) as session:
        tf.import_graph_def(network.graph_def, name="")
        values = session.run({name: f"{name}:0" for name in sorted(needed)})
    large = {name: value for name, value in values.items() if value.size >= LARGE}
    with tf.Graph().as_default() as graph:
        for name, value in values.items():
            if name in large:
                tf1.placeholder(value.dtype, value.shape, name=name)
            else:
                tf.constant(value, name=name)
    graph_def = graph.as_graph_def()
    graph_def.node.extend(node for node in nodes if node.name in varying)
    return ConstantNetwork(graph_def=graph_def, outputs=network.outputs), large


def _as_it_stands() -> Any:
    """Options by which a session computes without a second copy of all constants."""
    config = tf1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = tf1.OptimizerOptions.L0
    return config


def _varying(network: ConstantNetwork) -> Collection[str]:
    """The nodes that depend on a placeholder, and those that the outputs are; each comes after what it reads."""
    found = set(network.outputs)
    for node in network.graph_def.node:
        if node.op == "Placeholder" or any(_name(source) in found for source in node.input):
            found.add(node.name)
    return found


def _name(source: str) -> str:
    """The node that an input names: "name", "name:1" or "^name"."""
    return source.removeprefix("^").partition(":")[0]
