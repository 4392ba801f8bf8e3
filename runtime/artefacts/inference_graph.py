"""The inference graph of a checkpoint, from raw images to predictions, with constants for weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.artefacts.artefact import INPUT
from runtime.evaluation import load_weights
from runtime.inference.network import opened_weights
from runtime.task import Setup, Task
from utils.image_sizes import ImageSize, sides_of

tf1 = tf.compat.v1


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """The input of an exported network: ``batch_size`` images (None for any number) of ``image_size`` pixels."""

    image_size: ImageSize
    batch_size: int | None = None
    layout: str = "NHWC"

    @property
    def shape(self) -> list[int | None]:
        sides = sides_of(self.image_size)
        return [self.batch_size, *sides, 3] if self.layout == "NHWC" else [self.batch_size, 3, *sides]


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceGraph:
    """A graph without variables.

    Attributes:
        graph_def: The graph; its input is the placeholder "input", raw RGB in 0..255.
        outputs: Names of operations with one tensor each: the task's predictions and the endpoints behind them.
    """

    graph_def: Any
    outputs: tuple[str, ...]


def read_weights(setup: Setup, prefix: Path) -> dict[str, np.ndarray]:
    """The values of all variables of the network by name.

    Raises:
        RunError: The checkpoint does not fit, is damaged, or holds numbers that are not finite.
    """
    with opened_weights(setup) as (session, weights):
        load_weights(session, weights, prefix, setup.config.moving_average.eval_weights)
        return dict(session.run({v.op.name: v for v in weights.variables}))


def inference_graph(task: Task, values: Mapping[str, np.ndarray], spec: InputSpec) -> InferenceGraph:
    """Builds the network with constants instead of variables."""

    def constant(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return tf.constant(values[name], name=name)

    with tf.Graph().as_default() as graph:
        images = tf1.placeholder(tf.float32, spec.shape, name=INPUT)
        if spec.layout == "NCHW":
            images = tf.transpose(images, [0, 2, 3, 1])
        with tf1.variable_scope("", custom_getter=constant):
            endpoints = task.network.forward(task.network.normalize(images), training=False)
        last = task.post_processing
        found = {**{name: endpoints[name] for name in last.ends}, **last.predictions(endpoints)}
        for name, tensor in found.items():
            tf.identity(tensor, name=name)
        return InferenceGraph(graph_def=graph.as_graph_def(), outputs=tuple(found))


def pruned(network: InferenceGraph, outputs: Sequence[str]) -> InferenceGraph:
    """The part of a network that the given outputs depend on."""
    graph_def = tf1.graph_util.extract_sub_graph(network.graph_def, list(outputs))
    return InferenceGraph(graph_def=graph_def, outputs=tuple(outputs))
