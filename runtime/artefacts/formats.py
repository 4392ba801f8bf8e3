"""The table of artefact formats: files, limits, packages, and the functions that write and open them (no TF)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from utils.errors import RunError, UsageError, reason
from utils.suggestions import hint, path_hint

INSTALL = "python -m pip install -r requirements/export.txt"
GraphKind = Literal["as_trained", "by_zero_point"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of the difference between an artefact and its checkpoint.

    Attributes:
        max_drift: Largest drift, see ``runtime.artefacts.verification``.
        max_metric_drop: Largest allowed drop of the metric, a fraction.
    """

    max_drift: float
    max_metric_drop: float


FLOAT32 = Limits(max_drift=1e-3, max_metric_drop=0.01)
FLOAT16 = Limits(max_drift=2e-2, max_metric_drop=0.02)
INT8 = Limits(max_drift=0.3, max_metric_drop=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One row. Functions are named "module:name" and imported when called, because their modules import TensorFlow.

    Attributes:
        name: Name in ``--format`` and in reports.
        file: Name of the artefact in the export folder; the suffix of a file identifies the format.
        beside: Suffix of a second file of the same name; empty if there is none.
        marker: File that identifies a folder of this format; None if an artefact is one file.
        precision: Compute type of the convolutions.
        limits: Allowed difference.
        quantized_limits: The same for a network trained with quantization: runtimes round some numbers to different
            8-bit levels.
        packages: Modules required beside TensorFlow.
        write: ``(ExportJob, Format, path, metadata) -> Written``, see ``runtime.artefacts.export_job``.
        open: ``(path, threads) -> Artefact``.
        check: ``(ExportOptions) -> None``, rejects invalid options before any work; may be empty.
        graph: Kind of graph that it is written from, see ``ExportJob.graph``; None for the checkpoint itself.
        flags: Flags of ``tools.export`` for this format only.
        nhwc_only: Flags of ``tools.export`` that must not be NCHW, with the reasons.
        calibrated: Whether it needs a calibration set if the network was not trained with quantization.
        unquantized_only: Reason why networks trained with quantization cannot have this format; empty if they can.
    """

    name: str
    file: str
    beside: str = ""
    marker: str | None = None
    precision: str = "float32"
    limits: Limits = FLOAT32
    quantized_limits: Limits = INT8
    packages: tuple[str, ...] = ()
    write: str
    open: str
    check: str = ""
    graph: GraphKind | None = "as_trained"
    flags: tuple[str, ...] = ()
    nhwc_only: Mapping[str, str] = field(default_factory=dict)
    calibrated: bool = False
    unquantized_only: str = ""

    def recognizes(self, path: Path) -> bool:
        """True if an artefact has this format, or one that is opened in the same way."""
        if self.marker is not None:
            return (path / self.marker).is_file()
        return path.suffix == Path(self.file).suffix and not path.is_dir()

    def require_packages(self) -> None:
        """Checks that the packages of the format are installed.

        Raises:
            UsageError: A package is missing.
        """
        for package in self.packages:
            if find_spec(package) is None:
                raise package_missing(package, f"--format {self.name}")


_TFLITE = Format(
    name="tflite",
    file="model.tflite",
    packages=("ai_edge_litert",),
    write="runtime.artefacts.tflite_model:write",
    open="runtime.artefacts.tflite_model:open_tflite",
    graph="by_zero_point",
    nhwc_only={"compute_format": "TFLite computes in NHWC"},
)
_OPENVINO = Format(
    name="openvino",
    file="model.xml",
    beside=".bin",
    packages=("openvino",),
    write="runtime.artefacts.openvino_model:write",
    open="runtime.artefacts.openvino_model:open_openvino",
    graph="by_zero_point",
)
_ROWS = (
    Format(
        name="saved_model",
        file="saved_model",
        marker="saved_model.pb",
        quantized_limits=FLOAT32,
        write="runtime.artefacts.saved_model:write",
        open="runtime.artefacts.saved_model:open_saved_model",
        graph=None,
        nhwc_only={"input_format": "a SavedModel takes images in NHWC"},
    ),
    Format(
        name="frozen",
        file="model.pb",
        quantized_limits=FLOAT32,
        write="runtime.artefacts.frozen_graph:write",
        open="runtime.artefacts.frozen_graph:open_frozen_graph",
        flags=("output_file", "write_text_graphdef"),
    ),
    Format(
        name="onnx",
        file="model.onnx",
        packages=("onnx", "tf2onnx", "onnxruntime"),
        write="runtime.artefacts.onnx_model:write",
        open="runtime.artefacts.onnx_model:open_onnx",
        check="runtime.artefacts.onnx_model:check_opset",
        flags=("opset",),
    ),
    _TFLITE,
    dataclasses.replace(
        _TFLITE,
        name="tflite_fp16",
        file="model_fp16.tflite",
        precision="float16",
        limits=FLOAT16,
        unquantized_only="which leaves no float16 weights; use tflite_int8",
    ),
    dataclasses.replace(
        _TFLITE,
        name="tflite_int8",
        file="model_int8.tflite",
        precision="int8",
        limits=INT8,
        calibrated=True,
    ),
    _OPENVINO,
    dataclasses.replace(
        _OPENVINO,
        name="openvino_int8",
        file="model_int8.xml",
        precision="int8",
        limits=INT8,
        packages=("openvino", "nncf"),
        calibrated=True,
    ),
)
FORMATS: Mapping[str, Format] = {row.name: row for row in _ROWS}


def function(name: str) -> Callable[..., Any]:
    """The function for a name "module:name"."""
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    return found


def read_formats(text: str) -> tuple[str, ...]:
    """The formats in ``--format``, each once, in the order of the table.

    Raises:
        UsageError: A format is unknown.
    """
    given = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in given if name not in FORMATS]
    if unknown or not given:
        nearest = hint(unknown[0], FORMATS) if unknown else ""
        raise UsageError(f"--format {', '.join(unknown) or repr(text)}: must be some of {','.join(FORMATS)}{nearest}")
    return tuple(name for name in FORMATS if name in given)


def format_of(path: Path) -> Format | None:
    """The format that opens an artefact, by suffix or marker; None if the path is not an artefact."""
    return next((row for row in FORMATS.values() if row.recognizes(path)), None)


def find_artefact(path: Path, flag: str = "--model_dir") -> Path | None:
    """The artefact that a flag names: a file, a folder, or the marker in a folder; None if it names none.

    Raises:
        RunError: The path has the suffix of a format, but does not exist.
    """
    if path.is_file() and any(path.name == row.marker for row in FORMATS.values()):
        return path.parent
    if format_of(path) is None:
        return None
    if not path.exists():
        raise RunError(f"{flag} {path}: no such file{path_hint(path)}")
    return path


def artefacts_in(folder: Path) -> list[Path]:
    """The artefacts in a folder, for messages to users who named the folder itself."""
    found = [(path, format_of(path)) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    return [path for path, row in found if row and (not row.beside or path.with_suffix(row.beside).is_file())]


def package_missing(package: str, path: Path | str, error: ImportError | None = None) -> UsageError:
    """The error for a format whose package is not installed, or is but raised ``error``."""
    broken = error is not None and find_spec(package) is not None
    fault = f"cannot be imported ({reason(error)})" if error is not None and broken else "is not installed"
    return UsageError(f"{path}: needs the package {package}, which {fault}: {INSTALL}")
