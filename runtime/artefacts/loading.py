"""Opens an artefact of any format."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from runtime.artefacts.artefact import Artefact
from runtime.artefacts.formats import package_missing
from runtime.artefacts.frozen_graph import open_frozen_graph
from runtime.artefacts.onnx_model import open_onnx
from runtime.artefacts.saved_model import open_saved_model
from runtime.artefacts.tflite_model import open_tflite

PACKAGES = {"onnx": ("onnx", "tf2onnx", "onnxruntime"), "tflite": ("ai_edge_litert",)}
"""Packages beside TensorFlow that write and run a format."""


def open_artefact(path: Path, threads: int | None = None) -> Artefact:
    """Opens what ``formats.find_artefact`` found.

    Args:
        path: File, or folder of a SavedModel.
        threads: Of runtimes other than TensorFlow; None leaves it to them.

    Raises:
        UsageError: The package that runs it is missing.
        RunError: It is damaged, or is not ours.
    """
    if path.is_dir():
        return open_saved_model(path)
    if path.suffix == ".pb":
        return open_frozen_graph(path)
    return open_onnx(path, threads) if path.suffix == ".onnx" else open_tflite(path, threads)


def require_packages(name: str) -> None:
    """Refuses a format whose packages are not installed, before any work.

    Raises:
        UsageError: One is missing.
    """
    for package in PACKAGES.get(name.partition("_")[0], ()):
        if find_spec(package) is None:
            raise package_missing(package, f"--format {name}")
