"""Exports of tiny networks in this process, shared by the tests of artefacts."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.artefacts.formats import FORMATS
from tests.runtime.runs import root_logger, tiny_networks
from tools.export import main

ALL = ",".join(FORMATS)


@dataclass(frozen=True)
class Export:
    """The results of an export: its exit status, its report by format, and its output."""

    folder: Path
    status: int
    report: dict
    output: str
    error: str

    def of(self, name: str) -> dict:
        return next(entry for entry in self.report["artefacts"] if entry["format"] == name)


def need_packages() -> None:
    """Skips a module of tests if the packages of ONNX and TFLite are not installed."""
    for package in {package for row in FORMATS.values() for package in row.packages}:
        pytest.importorskip(package, reason=f"{package} is not installed (requirements/export.txt)")


def export(folder: Path, *arguments: str | Path) -> Export:
    """Runs ``python -m tools.export`` with ``--export_dir``."""
    output, error = io.StringIO(), io.StringIO()
    with tiny_networks(), root_logger(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
        status = main([f"--export_dir={folder}", *map(str, arguments)])
    path = folder / "export_report.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    return Export(folder, status, report, output.getvalue(), error.getvalue())
