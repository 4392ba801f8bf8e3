"""TFLite models in float32, float16 and int8, written by TensorFlow's converter and run by LiteRT."""

from __future__ import annotations

import json
import re
import threading
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from runtime.artefacts.artefact import INPUT, Artefact, called_outside, without_advice_to_migrate
from runtime.artefacts.export_job import ExportJob, Images, Written
from runtime.artefacts.formats import Format, package_missing
from runtime.artefacts.inference_graph import InferenceGraph, pruned
from runtime.artefacts.tflite_groups import widen_groups
from utils.errors import RunError, reason
from utils.files.atomic_file import write_atomically
from utils.weights.description import parse_description, stored_precision

tf1 = tf.compat.v1

METADATA_NAME = "metadata.json"
IDENTIFIER = b"TFL3"
PRODUCTS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"})
"""Operators that must run in int8 in an int8 model."""


def write(job: ExportJob, row: Format, path: Path, metadata: Mapping[str, Any]) -> Written:
    """Writes a checkpoint in this format.

    A model ends before multi-class suppression, which TFLite lacks; an int8 model also ends before the softmax, which
    is too coarse in int8.

    Raises:
        RunError: An operation has no TFLite operator, or there are too few calibration images.
    """
    last = job.setup.task.post_processing
    simple = () if last.is_costly or row.precision == "int8" else ("probabilities",)
    model = convert(job.graph(row), (*last.ends, *simple), row.precision, job.ranges(row))
    write_tflite(model, path, metadata)
    counts = operators(model)
    in_float = not_in_int8(counts) if row.precision == "int8" else []
    fault = f"some operators are not in int8: {', '.join(in_float)}" if in_float else None
    return Written(facts={"operators": dict(sorted(counts.items()))}, fault=fault)


@without_advice_to_migrate()
def convert(network: InferenceGraph, outputs: tuple[str, ...], precision: str, calibration: Images | None) -> bytes:
    """Converts a network to TFLite.

    Args:
        network: The network, with its input in any layout.
        outputs: Outputs of the model.
        precision: "float32", "float16" or "int8".
        calibration: Function that returns batches of the calibration set for int8; None if the network was trained with
            quantization ranges.

    Raises:
        RunError: An operation has no TFLite operator.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([_function(pruned(network, outputs))])
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8" and calibration is not None:
        converter.representative_dataset = lambda: ([images] for images in calibration())
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    try:
        with warnings.catch_warnings():
            # Inputs stay float32; the converter warns about their missing statistics (TensorFlow 2.21).
            warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
            return bytes(converter.convert())
    except Exception as error:  # the converter's errors have no common class
        lacking = re.search(r"(?:TF Select|Custom) ops: ([\w, ]+)", str(error))
        what = (
            f"TFLite has no operator for {lacking[1].strip()}" if lacking else f"cannot be converted: {reason(error)}"
        )
        raise RunError(f"--format tflite ({precision}): {what}") from error


def _function(network: InferenceGraph) -> Any:
    """The network as a concrete function; any other way into the converter loses the ranges of fake quantization."""
    wrapped = tf1.wrap_function(lambda: tf.import_graph_def(network.graph_def, name=""), [])
    tensors = {name: wrapped.graph.get_tensor_by_name(f"{name}:0") for name in network.outputs}
    return wrapped.prune(wrapped.graph.get_tensor_by_name(f"{INPUT}:0"), tensors)


def write_tflite(model: bytes, path: Path, metadata: Mapping[str, Any]) -> None:
    """Writes a model with merged groups; the metadata buffer "metadata.json" holds its metadata."""
    parts = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    widen_groups(parts)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(json.dumps(dict(metadata), ensure_ascii=False).encode(), np.uint8)
    parts.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(parts.buffers) - 1
    parts.metadata = [*(parts.metadata or []), entry]
    write_atomically(path, bytes(flatbuffer_utils.convert_object_to_bytearray(parts)))


def operators(model: bytes) -> Counter[str]:
    """Counts of a model's operators by name and input type, such as "CONV_2D int8"."""
    parts = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    found: Counter[str] = Counter()
    for graph in parts.subgraphs:
        for operator in graph.operators:
            name = flatbuffer_utils.opcode_to_name(parts, operator.opcodeIndex)
            places = [place for place in (operator.inputs if operator.inputs is not None else ()) if place >= 0]
            kind = flatbuffer_utils.type_to_name(graph.tensors[places[0]].type).lower() if places else ""
            found[f"{name} {kind}".strip()] += 1
    return found


def not_in_int8(counts: Mapping[str, int]) -> list[str]:
    """The operators that multiply matrices in another type, such as "3 CONV_2D float32"."""
    split = {name: name.partition(" ") for name in counts}
    return [
        f"{counts[name]} {name}" for name, (kind, _, dtype) in split.items() if kind in PRODUCTS and dtype != "int8"
    ]


def open_tflite(path: Path, threads: int | None) -> Artefact:
    """Opens a model from this project in LiteRT.

    Raises:
        UsageError: A package is missing.
        RunError: The model is damaged or has no metadata.
    """
    try:
        from ai_edge_litert import interpreter as litert
    except ImportError as error:
        raise package_missing("ai-edge-litert", path) from error
    try:
        stored = _stored(path.read_bytes())
        interpreter = litert.Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # the flatbuffers parser and LiteRT raise errors of any type
        raise RunError(f"{path}: cannot be read as a TFLite model from this project: {reason(error)}") from error
    metadata = parse_description(stored, path)
    (taken,) = interpreter.get_input_details()
    shape = [None if side < 0 else int(side) for side in taken["shape_signature"]]
    given = interpreter.get_output_details()
    specs = {output["name"]: _spec(output) for output in given}
    one_at_a_time = threading.Lock()

    def call(images: np.ndarray) -> Mapping[str, np.ndarray]:
        with one_at_a_time:
            if interpreter.get_input_details()[0]["shape"].tolist() != list(images.shape):
                interpreter.resize_tensor_input(taken["index"], images.shape)
                interpreter.allocate_tensors()
            interpreter.set_tensor(taken["index"], images)
            interpreter.invoke()
            return {output["name"]: interpreter.get_tensor(output["index"]) for output in given}

    return Artefact(
        path=path,
        runtime=f"LiteRT {litert_version()}",
        precision=stored_precision(metadata),
        metadata=metadata,
        input_shape=shape,
        outputs=specs,
        forward=called_outside(call, shape, specs),
    )


def litert_version() -> str:
    """The installed version of LiteRT."""
    from importlib.metadata import version

    return version("ai-edge-litert")


def _spec(output: Mapping[str, Any]) -> tf.TensorSpec:
    shape = [None if side < 0 else int(side) for side in output["shape_signature"]]
    return tf.TensorSpec([None, *shape[1:]], tf.as_dtype(output["dtype"]))


def _stored(content: bytes) -> bytes:
    """The metadata buffer.

    Raises:
        ValueError: There is no such buffer, or the content is not a TFLite model.
    """
    if content[4:8] != IDENTIFIER:
        raise ValueError("it does not begin like one")
    model = schema.Model.GetRootAs(content, 0)
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() == METADATA_NAME.encode():
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
    raise ValueError("it has no metadata")
