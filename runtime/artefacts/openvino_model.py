"""OpenVINO models in float32 and int8, quantized by NNCF; only this module imports these two."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.artefacts.artefact import INPUT, Artefact, called_outside, without_advice_to_migrate
from runtime.artefacts.export_job import ExportJob, Images, Written
from runtime.artefacts.formats import Format, package_missing
from runtime.artefacts.inference_graph import InferenceGraph, pruned
from utils.errors import RunError, reason
from utils.files.regular_file import sha256
from utils.system.telemetry import refuse_telemetry
from utils.weights.description import parse_description, stored_precision

METADATA_KEY = "metadata"
WEIGHTS_KEY = "weights_sha256"
"""Key of the digest of the ``.bin`` file, which belongs to one ``.xml`` file only."""
CONVOLUTIONS = frozenset({"Convolution", "GroupConvolution"})
"""Operators that must run in int8 in an int8 model."""
_PRODUCTS = CONVOLUTIONS | {"MatMul"}
_PASSED = frozenset({"Convert", "Subtract", "Multiply", "Reshape", "Transpose", "FakeQuantize"})
"""Operators between a stored kernel and its use: the inverse of its quantization."""


@without_advice_to_migrate()
def write(job: ExportJob, row: Format, path: Path, metadata: Mapping[str, Any]) -> Written:
    """Writes a checkpoint in this format: ``path`` and, beside it, the weights as ``.bin``.

    A model ends before multi-class suppression, which OpenVINO lacks. The conversion itself stores kernels that were
    trained with quantization in int8.

    Raises:
        UsageError: A package is missing.
        RunError: An operation has no OpenVINO operator, or there are too few calibration images.
    """
    flag = f"--format {row.name}"
    last = job.setup.task.post_processing
    simple = () if last.is_costly else last.prediction_names
    model = convert(pruned(job.graph(row), (*last.ends, *simple)), flag)
    ranges = job.ranges(row)
    if ranges is not None:
        model = quantize(model, ranges, flag)
    write_openvino(model, path, metadata)
    counts = operators(model)
    in_float = not_in_int8(counts) if row.precision == "int8" else []
    fault = f"some operators are not in int8: {', '.join(in_float)}" if in_float else None
    size = path.stat().st_size + _weights(path).stat().st_size
    return Written(facts={"operators": dict(sorted(counts.items())), "bytes": size}, fault=fault)


def convert(network: InferenceGraph, flag: str) -> Any:
    """The network as an OpenVINO model, with its input in any layout and inputs and outputs of the same names.

    Raises:
        UsageError: OpenVINO cannot be imported.
        RunError: An operation has no OpenVINO operator.
    """
    openvino = _openvino(flag)
    with tempfile.TemporaryDirectory() as folder:
        frozen = Path(folder) / "model.pb"  # OpenVINO reads files without TensorFlow's help
        frozen.write_bytes(network.graph_def.SerializeToString())
        try:
            model = openvino.convert_model(str(frozen))
        except Exception as error:  # its errors have no common class
            lacking = str(error).partition("No conversion rule found for operations: ")[2].partition("\n")[0]
            what = f"OpenVINO has no operator for {lacking}" if lacking else f"cannot be converted: {_reason(error)}"
            raise RunError(f"{flag}: {what}") from error
    names = {f"{name}:0": name for name in (INPUT, *network.outputs)}
    for end in (*model.inputs, *model.outputs):
        end.tensor.set_names({names[name] for name in end.names if name in names})
    return model


def quantize(model: Any, calibration: Images, flag: str) -> Any:
    """The model in int8, with ranges from batches of the calibration set.

    A range spans all values of the set, as in TFLite. NNCF's default, from the mean minimum to the mean maximum of a
    batch, clips: the logits of a ResNet-50 after few epochs drifted by 1.0, and by 0.4 with whole ranges.

    Raises:
        UsageError: NNCF cannot be imported.
        RunError: NNCF cannot quantize it.
    """
    refuse_telemetry()
    images = list(calibration())
    with contextlib.redirect_stdout(io.StringIO()):  # NNCF shows progress
        try:
            import nncf
            from nncf.quantization.range_estimator import RangeEstimatorParametersSet

            return nncf.quantize(
                model,
                nncf.Dataset(images),
                subset_size=len(images),
                preset=nncf.QuantizationPreset.MIXED,
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
                ),
            )
        except ImportError as error:
            raise package_missing("nncf", flag, error) from error
        except Exception as error:  # its errors have no common class
            raise RunError(f"{flag}: cannot be quantized: {reason(error)}") from error


def write_openvino(model: Any, path: Path, metadata: Mapping[str, Any]) -> None:
    """Writes a model with its metadata and the digest of its weights, both among OpenVINO's runtime information."""
    openvino = _openvino(path)
    openvino.save_model(model, path, compress_to_fp16=False)
    model.set_rt_info(json.dumps(dict(metadata)), [METADATA_KEY])
    model.set_rt_info(sha256(_weights(path)), [WEIGHTS_KEY])
    openvino.save_model(model, path, compress_to_fp16=False)  # the weights do not change


def operators(model: Any) -> Counter[str]:
    """Counts of a model's operators by type; those that multiply matrices with the type of their stored kernels."""
    found: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        found[f"{kind} {_stored_type(node)}".strip() if kind in _PRODUCTS else kind] += 1
    return found


def _stored_type(product: Any) -> str:
    """The type of the constant that a product multiplies by, such as "int8" or "float32"; empty if there is none."""
    node = product.input_value(1).get_node()
    while node.get_type_name() in _PASSED:
        node = node.input_value(0).get_node()
    stored = node.get_type_name() == "Constant"
    return str(np.dtype(node.get_element_type().to_dtype())).removeprefix("u") if stored else ""


def not_in_int8(counts: Mapping[str, int]) -> list[str]:
    """The convolutions in another type, such as "3 Convolution float32"; NNCF leaves other products as they are."""
    split = {name: name.partition(" ") for name in counts}
    return [f"{counts[n]} {n}" for n, (kind, _, dtype) in split.items() if kind in CONVOLUTIONS and dtype != "int8"]


def open_openvino(path: Path, threads: int | None) -> Artefact:
    """Opens a model from this project in OpenVINO, on the CPU.

    Raises:
        UsageError: OpenVINO cannot be imported.
        RunError: The model is damaged, has no metadata, or its weights belong to another model.
    """
    openvino = _openvino(path)
    weights = _weights(path)
    if not weights.is_file():
        raise RunError(f"{weights}: no such file; it holds the weights of {path} (--model_dir): keep them together")
    _check_pair(path, weights)
    core = openvino.Core()
    try:
        model = core.read_model(path)
    except Exception as error:  # its errors have no common class
        raise RunError(f"{path}: cannot be read as an OpenVINO model: {_reason(error)}") from error
    if not model.has_rt_info([METADATA_KEY]):
        raise RunError(f"{path}: has no metadata from this project, so the meaning of its numbers is unknown")
    metadata = parse_description(str(model.get_rt_info([METADATA_KEY]).astype(str)), path)
    try:
        (shape,) = (_shape(taken) for taken in model.inputs)
        specs = {out.any_name: tf.TensorSpec(_shape(out), out.element_type.to_dtype()) for out in model.outputs}
    except (RuntimeError, TypeError, ValueError) as error:
        raise RunError(f"{path}: has other inputs or outputs than models from this project") from error
    run = functools.partial(_caller, core, model, threads)
    artefact = Artefact(
        path=path,
        runtime=f"OpenVINO {openvino.__version__.partition('-')[0]}",
        precision=stored_precision(metadata),
        metadata=metadata,
        input_shape=shape,
        outputs=specs,
        forward=called_outside(run("f32"), shape, specs),
    )
    if artefact.precision != "float32":
        return artefact
    faster = dataclasses.replace(artefact, precision="bfloat16", forward=called_outside(run("bf16"), shape, specs))
    return dataclasses.replace(artefact, in_bfloat16=lambda: faster)


def _caller(
    core: Any, model: Any, threads: int | None, precision: str
) -> Callable[[np.ndarray], Mapping[str, np.ndarray]]:
    """A function from images to the model's outputs; it compiles the model anew for batches of another size."""
    options = {
        "INFERENCE_NUM_THREADS": threads or 0,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "ENABLE_CPU_PINNING": False,  # processes side by side would all take the first cores
    }
    compiled: dict[tuple[int, ...], Any] = {}
    one_at_a_time = threading.Lock()

    def call(images: np.ndarray) -> Mapping[str, np.ndarray]:
        with one_at_a_time:
            if images.shape not in compiled:
                compiled.clear()  # each has its own copy of the weights
                model.reshape(list(images.shape))
                compiled[images.shape] = core.compile_model(model, "CPU", options)
            found = compiled[images.shape](images)
            return {out.any_name: found[out] for out in compiled[images.shape].outputs}

    return call


def _openvino(where: Path | str) -> Any:
    """The package OpenVINO.

    Raises:
        UsageError: It is not installed or cannot be imported.
    """
    refuse_telemetry()
    try:
        import openvino
    except ImportError as error:
        raise package_missing("openvino", where, error) from error
    return openvino


def _weights(path: Path) -> Path:
    return path.with_suffix(".bin")


def _check_pair(path: Path, weights: Path) -> None:
    """Raises ``RunError`` if weights are not those that a model was written with, which OpenVINO would not notice."""
    try:
        stored = re.search(rf'<{WEIGHTS_KEY} value="(\w+)"'.encode(), path.read_bytes())
        fits = stored is None or stored[1].decode() == sha256(weights)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    if not fits:
        raise RunError(f"{weights}: does not belong to {path} (--model_dir) or is damaged; copy both from one export")


def _reason(error: Exception) -> str:
    """The line of an error that says what happened; OpenVINO's begin with places in its source."""
    lines = [line for line in str(error).splitlines() if line.strip() and " from src/" not in line]
    said = [line for line in lines if not line.startswith("Check ")] or lines
    return said[0] if said else reason(error)


def _shape(end: Any) -> list[int | None]:
    return [side.get_length() if side.is_static else None for side in end.partial_shape]
