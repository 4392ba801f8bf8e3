"""Merges the groups of int8 convolutions in a TFLite model into fewer, wider ones, which run faster.

On processors with matrix instructions, LiteRT (XNNPACK) multiplies int8 kernels in tiles of 64 input by 64 output
channels. It uses a whole tile for each group, however narrow; those of ResNeXt have 4 to 32 channels. This module
merges as many groups as fill a tile into one and fills its kernel with zeros between channels of different groups. Zero
is exact in int8, so the results are bit-identical. A kernel takes up to 16 times the space: for SE-ResNeXt101-32x4d, 7
MB in addition to 51.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

TILE = 64


def widen_groups(model: Any) -> int:
    """Rewrites the int8 convolutions of a parsed model; returns the number of changed ones."""
    return sum(_widen(model, graph, *places) for graph in model.subgraphs for places in _grouped(model, graph))


def _grouped(model: Any, graph: Any) -> list[tuple[int, int]]:
    """Input and kernel tensors of the grouped int8 convolutions that do not share their kernel."""
    operators = graph.operators
    readers = Counter(place for operator in operators for place in operator.inputs)
    convolutions = (o for o in operators if flatbuffer_utils.opcode_to_name(model, o.opcodeIndex) == "CONV_2D")
    found = []
    for images, kernel in ((int(operator.inputs[0]), int(operator.inputs[1])) for operator in convolutions):
        tensor = graph.tensors[kernel]
        grouped = tensor.shape[3] < graph.tensors[images].shape[3]
        if grouped and tensor.type == schema.TensorType.INT8 and readers[kernel] == 1:
            found.append((images, kernel))
    return found


def _widen(model: Any, graph: Any, images: int, kernel: int) -> bool:
    tensor = graph.tensors[kernel]
    filters = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int8).reshape(tensor.shape)
    wider = merge_groups(filters, int(graph.tensors[images].shape[3]) // filters.shape[3])
    if wider.shape == filters.shape:
        return False
    buffer = schema.BufferT()
    buffer.data = wider.reshape(-1).view(np.uint8)
    model.buffers.append(buffer)
    if not any(other.buffer == tensor.buffer for g in model.subgraphs for other in g.tensors if other is not tensor):
        model.buffers[tensor.buffer].data = None
    tensor.buffer = len(model.buffers) - 1
    tensor.shape = np.array(wider.shape, np.int32)
    if tensor.shapeSignature is not None:
        tensor.shapeSignature = tensor.shape
    return True


def merge_groups(filters: np.ndarray, groups: int) -> np.ndarray:
    """The kernel of the same convolution with fewer groups of at most ``TILE`` input channels.

    Args:
        filters: [output channels, height, width, input channels of a group].
        groups: Number of groups.

    Returns:
        The kernel with more input channels, or ``filters`` itself if no two groups fit into a tile.
    """
    outputs, height, width, channels = filters.shape
    merged = max(n for n in range(1, groups + 1) if groups % n == 0 and (n == 1 or n * channels <= TILE))
    if merged == 1:
        return filters
    parts = filters.reshape(groups // merged, merged, outputs // groups, height, width, channels)
    wider = np.zeros((*parts.shape[:-1], merged, channels), filters.dtype)
    for number in range(merged):
        wider[:, number, ..., number, :] = parts[:, number]
    return wider.reshape(outputs, height, width, merged * channels)
