"""The parameters and FLOPs of a network, counted in a graph that the run builds anyway."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from model.specs import CHOSEN_CONVOLUTIONS
from utils.image_processing import CHANNELS
from utils.image_sizes import ImageSize, size_of_sides

tf1 = tf.compat.v1
UNCOUNTED = "teacher"
"""Scope of another network in the same graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSize:
    """The size of a network, as papers state it.

    Attributes:
        parameters: Number of trainable values, without the moving statistics of batch normalization.
        flops: Floating-point operations of the forward pass for one image; a multiply-add counts as two. Only
            convolutions and matrix products count; all other operations are below one percent.
        image_size: Size of that image in pixels; None if unknown.
    """

    parameters: int
    flops: int
    image_size: ImageSize | None = None


def network_size(images: Any) -> NetworkSize:
    """Counts the network in the graph of ``images``.

    Call it right after building the forward pass, because later operations such as gradients would count too. A
    training graph with ``--quantize`` convolves twice, and both count. An exported model has no variables and size 0.

    Args:
        images: The network's input, [N, H, W, C] or [N, 3, H, W]; N may be unknown.
    """
    trainable = images.graph.get_collection(tf1.GraphKeys.TRAINABLE_VARIABLES)
    multiplied = sum(
        _multiplications(operation)
        for operation in images.graph.get_operations()
        if not operation.name.startswith(f"{UNCOUNTED}/")
    )
    multiplied -= sum(chosen.excess for chosen in images.graph.get_collection(CHOSEN_CONVOLUTIONS))
    sides = images.shape[2:4] if images.shape[1] == CHANNELS else images.shape[1:3]
    return NetworkSize(
        parameters=sum(math.prod(variable.shape.as_list()) for variable in trainable),
        flops=2 * multiplied // (images.shape[0] or 1),
        image_size=None if None in sides else size_of_sides(*sides),
    )


def _multiplications(operation: Any) -> int:
    """Multiplications of a convolution or matrix product; an unknown batch size counts as 1."""
    if operation.type == "Conv2D":
        height, width, channels, _ = operation.inputs[1].shape
        return _elements(operation.outputs[0]) * int(height * width * channels)
    if operation.type == "MatMul":
        summed = 0 if operation.get_attr("transpose_a") else 1
        return _elements(operation.outputs[0]) * int(operation.inputs[0].shape[summed])
    return 0


def _elements(tensor: Any) -> int:
    return math.prod(side or 1 for side in tensor.shape)
