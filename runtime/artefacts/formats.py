"""The formats of artefacts: their files, how one is told from another, and what each may lose (no TF)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UsageError

INSTALL = "python -m pip install -r requirements/export.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One row.

    Attributes:
        file: The artefact's name in the folder of exports.
        precision: Type that its convolutions compute in.
        max_drift: Largest drift that counts as the same network, see ``runtime.artefacts.verification``.
        max_metric_drop: By how much the metric may fall, a fraction.
    """

    file: str
    precision: str
    max_drift: float
    max_metric_drop: float


FORMATS: Mapping[str, Format] = {
    "saved_model": Format(file="saved_model", precision="float32", max_drift=1e-3, max_metric_drop=0.01),
    "frozen": Format(file="model.pb", precision="float32", max_drift=1e-3, max_metric_drop=0.01),
    "onnx": Format(file="model.onnx", precision="float32", max_drift=1e-3, max_metric_drop=0.01),
    "tflite": Format(file="model.tflite", precision="float32", max_drift=1e-3, max_metric_drop=0.01),
    "tflite_fp16": Format(file="model_fp16.tflite", precision="float16", max_drift=2e-2, max_metric_drop=0.02),
    "tflite_int8": Format(file="model_int8.tflite", precision="int8", max_drift=0.3, max_metric_drop=0.1),
}
SAVED_MODEL_FILE = "saved_model.pb"
SUFFIXES = (".pb", ".onnx", ".tflite")


def read_formats(text: str) -> tuple[str, ...]:
    """The formats that ``--format`` lists, each once, in the order of the table.

    Raises:
        UsageError: One is not known.
    """
    given = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in given if name not in FORMATS]
    if unknown or not given:
        raise UsageError(f"--format {', '.join(unknown) or repr(text)}: must be some of {','.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in given)


def find_artefact(path: Path) -> Path | None:
    """The artefact that ``--model_dir`` names, a folder of a SavedModel or a file; None where it names none."""
    if path.is_dir():
        return path if (path / SAVED_MODEL_FILE).is_file() else None
    if path.name == SAVED_MODEL_FILE and path.is_file():
        return path.parent
    if path.suffix not in SUFFIXES:
        return None
    if not path.is_file():
        raise UsageError(f"--model_dir {path}: no such file")
    return path


def artefacts_in(folder: Path) -> list[Path]:
    """The artefacts in a folder, for messages to people who named the folder itself."""
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES or (path / SAVED_MODEL_FILE).is_file()]


def package_missing(package: str, path: Path | str) -> UsageError:
    """The refusal where a format's package is not installed."""
    return UsageError(f"{path}: needs the package {package}, which is not installed: {INSTALL}")
