"""Convolutions in the form of oneDNN's operation: with what follows them, and with kernels that do not change.

oneDNN reorders the kernel of a convolution before it convolves. TensorFlow (2.21) keeps the reordered kernel only if
the graph holds the kernel as a constant, and constants are copied a dozen times while a session begins. The operation
to which TensorFlow itself rewrites convolutions says by an attribute that its kernel does not change. It accepts
variables as well, as long as nobody loads them again in the same session.
"""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.session import compiles, uses_gpu
from runtime.task import Setup
from utils.system.machine import uses_onednn

tf1 = tf.compat.v1

_FUSED, _LABEL = "_MklNativeFusedConv2D", b"MklNameChangeOp"
_ACTIVATIONS = ("Relu", "Relu6")
_COPIED = ("T", "strides", "padding", "explicit_paddings", "data_format", "dilations")


def keeps_kernels(setup: Setup) -> bool:
    """Returns whether ``with_fused_convolutions`` is of use: for checkpoints on CPUs with oneDNN, in NHWC, no XLA."""
    config = setup.config
    plain = setup.artefact is None and config.model.data_format == "NHWC" and not compiles(config)
    if not plain or uses_gpu(config) or not uses_onednn(os.environ):
        return False
    return _works(setup.precision.compute_dtype)


@functools.cache
def _works(dtype: Any) -> bool:
    """Tries a convolution, an addition and an activation against the operations of their own."""
    with tf.Graph().as_default() as graph:
        images, kernel = tf1.placeholder(dtype, [1, 3, 3, 4]), tf1.placeholder(dtype, [1, 1, 4, 4])
        summed = tf.nn.bias_add(tf.nn.conv2d(images, kernel, 1, "SAME"), tf.cast(tf.range(4), dtype)) + images
        plain = tf.nn.relu(summed)
        given = {images: np.linspace(-1, 1, 36).reshape(images.shape), kernel: np.eye(4).reshape(kernel.shape)}
        fused = with_fused_convolutions(graph.as_graph_def(), graph.get_operations(), [plain], [kernel])
        try:
            (found,) = tf.import_graph_def(fused, {t.name: t for t in given}, [plain.name], name="fused")
            with tf1.Session(graph=graph) as session:
                expected, actual = session.run([plain, found], given)
        except (ValueError, tf.errors.OpError):  # a TensorFlow without this operation, or with another form of it
            return False
    return bool(np.allclose(expected.astype(np.float32), actual.astype(np.float32), atol=0.05))


def with_fused_convolutions(
    definition: Any, operations: Iterable[Any], ends: Sequence[Any], kept: Iterable[Any]
) -> Any:
    """Joins convolutions with their bias, the addition of a map and the activation.

    Args:
        definition: The definition of a graph or of a part of it.
        operations: The operations of the graph, in order.
        ends: Tensors that must remain.
        kept: The kernels whose reordered form is kept from the first batch on, which takes as much memory again.

    Returns:
        The changed definition. An operation is called like the last one of those that it replaces.
    """
    names = {node.name for node in definition.node}
    readers: defaultdict[str, list[Any]] = defaultdict(list)
    for tensor in ends:
        readers[tensor.name].append(None)
    known = [operation for operation in operations if operation.name in names]
    for operation in known:
        for tensor in operation.inputs:
            readers[tensor.name].append(operation)
    kept_names = {tensor.name for tensor in kept}
    replaced: set[str] = set()
    added = []
    for convolution in reversed(known):  # of two branches that are added, the later one takes the addition
        if convolution.type == "Conv2D" and convolution.get_attr("data_format") == b"NHWC":
            chain = _chain(convolution, readers, replaced)
            if len(chain) > 1:
                replaced |= {operation.name for operation in chain}
                added.append(_fused(chain, keep=convolution.inputs[1].name in kept_names))
    fused = tf1.GraphDef(versions=definition.versions, library=definition.library)
    fused.node.extend(node for node in definition.node if node.name not in replaced)
    fused.node.extend(added)
    return fused


def _chain(convolution: Any, readers: dict[str, list[Any]], replaced: set[str]) -> list[Any]:
    """A convolution and the operations that can be joined to it."""
    chain = [convolution]

    def follow(*kinds: str) -> bool:
        """Appends the only operation that reads the last one, if it is of one of these kinds."""
        (reader, *others) = readers[chain[-1].outputs[0].name] or [None]
        fits = reader is not None and not others and reader.type in kinds and reader.name not in replaced
        if fits and reader.type == "AddV2":
            fits = _other(reader, chain[-1]).shape.as_list() == chain[-1].outputs[0].shape.as_list()
        if fits:
            chain.append(reader)
        return fits

    if follow("BiasAdd"):
        follow("AddV2")
        follow(*_ACTIVATIONS)
    return chain


def _other(addition: Any, operation: Any) -> Any:
    """The summand that an operation does not compute."""
    first, second = addition.inputs
    return second if first.op == operation else first


def _fused(chain: Sequence[Any], *, keep: bool) -> Any:
    """The definition of one operation for a chain."""
    convolution, bias, *rest = chain
    dtype = convolution.get_attr("T").as_datatype_enum
    node = tf1.NodeDef(name=chain[-1].name, op=_FUSED)
    given = [*convolution.inputs, bias.inputs[1]]
    steps = ["BiasAdd"]
    for before, operation in zip([bias, *rest], rest, strict=False):
        steps.append({"AddV2": "Add"}.get(operation.type, operation.type))
        if operation.type == "AddV2":
            given.append(_other(operation, before))
    node.input.extend(tensor.name for tensor in given)
    arguments = len(given) - len(convolution.inputs)
    for name in _COPIED:
        node.attr[name].CopyFrom(convolution.node_def.attr[name])
    node.attr["TArgs"].list.type.extend([dtype] * arguments)
    node.attr["num_args"].i = arguments
    node.attr["num_host_args"].i = 0
    node.attr["use_cudnn_on_gpu"].b = False
    node.attr["is_filter_const"].b = keep
    node.attr["fused_ops"].list.s.extend(step.encode() for step in steps)
    node.attr["_kernel"].s = _LABEL
    return node
