"""Frozen graphs: a network as one ``.pb`` file of constants with JSON metadata beside it, run by TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from runtime.artefacts.artefact import INPUT, Artefact, in_the_layout_of, read_beside
from runtime.artefacts.export_job import ExportJob, Written
from runtime.artefacts.formats import Format
from runtime.artefacts.inference_graph import InferenceGraph
from runtime.task import TensorMap
from utils.errors import RunError, reason
from utils.files.atomic_file import write_atomically
from utils.weights.description import stored_precision

tf1 = tf.compat.v1


def write(job: ExportJob, row: Format, path: Path, metadata: Mapping[str, Any]) -> Written:
    """Writes a checkpoint in this format."""
    write_frozen_graph(job.graph(row), path, metadata, text=job.options.text)
    return Written()


def write_frozen_graph(network: InferenceGraph, path: Path, metadata: Mapping[str, Any], *, text: bool) -> None:
    """Writes the graph to ``path``, its metadata to ``<path>.json`` and, with ``text``, its text to ``<path>txt``."""
    beside = {**metadata, "artefact": {**metadata.get("artefact", {}), "outputs": list(network.outputs)}}
    write_atomically(path.with_name(f"{path.name}.json"), json.dumps(beside, indent=1, ensure_ascii=False).encode())
    if text:
        written = text_format.MessageToString(network.graph_def)
        write_atomically(path.with_name(f"{path.name}txt"), written.encode())
    write_atomically(path, network.graph_def.SerializeToString())


def open_frozen_graph(path: Path, threads: int | None = None) -> Artefact:
    """Opens a frozen graph from this project; its session sets the threads.

    Raises:
        RunError: The file is damaged, or the JSON beside it is missing.
    """
    del threads
    metadata = read_beside(path.with_name(f"{path.name}.json"))
    graph_def = tf1.GraphDef()
    try:
        graph_def.ParseFromString(path.read_bytes())
        return in_graph(path, graph_def, f"{INPUT}:0", _outputs_of(metadata, graph_def), metadata)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    except (DecodeError, ValueError, KeyError, tf.errors.OpError) as error:
        raise RunError(f"{path}: is not a complete frozen graph: {reason(error)}") from error


def _outputs_of(metadata: Mapping[str, Any], graph_def: Any) -> dict[str, str]:
    names = metadata.get("artefact", {}).get("outputs", [])
    there = {node.name for node in graph_def.node}
    return {name: f"{name}:0" for name in names if name in there}


def in_graph(
    path: Path, graph_def: Any, input_name: str, outputs: Mapping[str, str], metadata: Mapping[str, Any]
) -> Artefact:
    """An artefact from a TensorFlow graph, which is imported into the graph that runs it.

    Args:
        path: Path of the artefact.
        graph_def: The graph, without variables.
        input_name: Name of the input tensor.
        outputs: Names of the output tensors by output name.
        metadata: As in ``Artefact``.

    Raises:
        ValueError: The graph lacks one of these tensors, or is incomplete.
    """
    with tf.Graph().as_default():
        tensors = tf.import_graph_def(graph_def, return_elements=[input_name, *outputs.values()])
    shape: Sequence[int | None] = tensors[0].shape.as_list()

    def forward(images: Any) -> TensorMap:
        given = {input_name: in_the_layout_of(shape, images)}
        found = tf.import_graph_def(graph_def, input_map=given, return_elements=list(outputs.values()))
        return dict(zip(outputs, found, strict=True))

    return Artefact(
        path=path,
        runtime=f"TensorFlow {tf.__version__}",
        precision=stored_precision(metadata),
        metadata=metadata,
        input_shape=shape,
        outputs={
            name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in zip(outputs, tensors[1:], strict=True)
        },
        forward=forward,
    )
