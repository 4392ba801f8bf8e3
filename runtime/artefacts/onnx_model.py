"""ONNX models, written by tf2onnx and run by ONNX Runtime; only this module imports these and onnx."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.artefacts.artefact import INPUT, Artefact, called_outside, without_advice_to_migrate
from runtime.artefacts.export_job import ExportJob, ExportOptions, Written
from runtime.artefacts.external_weights import with_external_weights
from runtime.artefacts.formats import Format, package_missing
from runtime.artefacts.inference_graph import InferenceGraph
from utils.errors import RunError, UsageError, reason
from utils.files.atomic_file import write_atomically
from utils.weights.description import parse_description

OPSET = 17
OPSETS = range(13, 19)
"""Opsets that tf2onnx 1.17 writes and that have all operators of the networks."""
METADATA_KEY = "metadata"
_TYPES = {"tensor(float)": tf.float32, "tensor(int32)": tf.int32, "tensor(int64)": tf.int64}


def check_opset(options: ExportOptions) -> None:
    """Checks that the opset is supported.

    Raises:
        UsageError: The opset is not supported.
    """
    if options.opset is not None and options.opset not in OPSETS:
        raise UsageError(f"--opset {options.opset}: must be {OPSETS[0]} to {OPSETS[-1]}")


def write(job: ExportJob, row: Format, path: Path, metadata: Mapping[str, Any]) -> Written:
    """Writes a checkpoint in this format.

    Raises:
        UsageError: A package is missing.
        RunError: An operation has no ONNX operator.
    """
    opset = OPSET if job.options.opset is None else job.options.opset
    counts = write_onnx(job.graph(row), path, metadata, opset)
    return Written(facts={"opset": opset, "operators": dict(sorted(counts.items()))})


@without_advice_to_migrate()
def write_onnx(network: InferenceGraph, path: Path, metadata: Mapping[str, Any], opset: int = OPSET) -> Counter[str]:
    """Writes a network with its metadata under the key "metadata"; returns the counts of its operators.

    Raises:
        UsageError: A package is missing.
        RunError: An operation has no ONNX operator.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise package_missing(error.name or "tf2onnx", "--format onnx") from error
    weights: dict[str, np.ndarray] = {}
    if not _quantizes(network):  # otherwise the kernels belong to the quantized part
        network, weights = with_external_weights(network)
    inputs = (INPUT, *weights)
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            network.graph_def,
            name=str(metadata.get("architecture")),
            input_names=[f"{name}:0" for name in inputs],
            output_names=[f"{name}:0" for name in network.outputs],
            opset=opset,
            tensors_to_rename={f"{name}:0": name for name in (*inputs, *network.outputs)},
        )
    except Exception as error:  # its handlers of operations raise errors of any type
        raise RunError(f"--format onnx: the network cannot be written in opset {opset}: {reason(error)}") from error
    unknown = unknown_operators(model, onnx.defs)
    if unknown:
        raise RunError(f"--format onnx: opset {opset} has no operator for {', '.join(unknown)}")
    _restore_constants(model.graph, weights, onnx.numpy_helper.from_array)
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(dict(metadata), ensure_ascii=False))
    write_atomically(path, model.SerializeToString())
    return Counter(node.op_type for node in model.graph.node)


def _quantizes(network: InferenceGraph) -> bool:
    return any(node.op.startswith(("FakeQuant", "QuantizeAndDequantize")) for node in network.graph_def.node)


def _restore_constants(
    graph: Any, weights: Mapping[str, np.ndarray], tensor_of: Callable[[np.ndarray, str], Any]
) -> None:
    """Turns inputs of a model back into constants, transposed to the order in which they are used."""
    turned = {node.input[0]: node for node in graph.node if node.op_type == "Transpose" and node.input[0] in weights}
    results = {node.output[0] for node in turned.values()}
    nodes = [node for node in graph.node if node.output[0] not in results]
    inputs = [given for given in graph.input if given.name not in weights]
    for name, node in turned.items():
        (order,) = (attribute.ints for attribute in node.attribute if attribute.name == "perm")
        graph.initializer.append(tensor_of(np.ascontiguousarray(weights[name].transpose(order)), node.output[0]))
    for name in weights.keys() & {name for node in nodes for name in node.input}:
        graph.initializer.append(tensor_of(weights[name], name))
    for part, kept in ((graph.node, nodes), (graph.input, inputs)):
        del part[:]
        part.extend(kept)


def unknown_operators(model: Any, known: Any) -> list[str]:
    """The operator types in a model, inner graphs included, that ONNX does not define, sorted."""
    found, graphs = set(), [model.graph]
    while graphs:
        for node in graphs.pop().node:
            if not known.has(node.op_type, node.domain):
                found.add(node.op_type)
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return sorted(found)


def open_onnx(path: Path, threads: int | None) -> Artefact:
    """Opens a model from this project in ONNX Runtime, on the CPU.

    Raises:
        UsageError: A package is missing.
        RunError: The model is damaged or has no metadata.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise package_missing("onnxruntime", path) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # errors only; its warnings concern optimizations
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common class
        raise RunError(f"{path}: cannot be read as an ONNX model: {reason(error)}") from error
    stored = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if stored is None:
        raise RunError(f"{path}: has no metadata from this project, so the meaning of its numbers is unknown")
    if len(session.get_inputs()) != 1 or {output.type for output in session.get_outputs()} - _TYPES.keys():
        raise RunError(f"{path}: has other inputs or outputs than models from this project")
    (taken,) = session.get_inputs()
    shape = [side if isinstance(side, int) else None for side in taken.shape]
    specs = {output.name: _spec(output) for output in session.get_outputs()}

    def call(images: np.ndarray) -> Mapping[str, np.ndarray]:
        return dict(zip(specs, session.run(list(specs), {taken.name: images}), strict=True))

    return Artefact(
        path=path,
        runtime=f"ONNX Runtime {onnxruntime.__version__}",
        precision="float32",
        metadata=parse_description(stored, path),
        input_shape=shape,
        outputs=specs,
        forward=called_outside(call, shape, specs),
    )


def _spec(output: Any) -> tf.TensorSpec:
    return tf.TensorSpec([side if isinstance(side, int) else None for side in output.shape], _TYPES[output.type])
