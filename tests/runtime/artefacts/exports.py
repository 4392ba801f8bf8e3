"""Exports of tiny networks in this process, shared by the tests of artefacts."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from runtime.artefacts.formats import FORMATS
from tests.runtime.runs import root_logger, tiny_networks
from tools.export import main


def lacking(name: str) -> str | None:
    """The package of a format that is not installed, or None."""
    return next((package for package in FORMATS[name].packages if find_spec(package) is None), None)


INSTALLED = [name for name in FORMATS if lacking(name) is None]
ALL = ",".join(INSTALLED)


def formats(*names: str) -> list[Any]:
    """Parameters of a test, the names of formats; those whose packages are not installed are skipped."""
    reasons = {name: f"{lacking(name)} is not installed (requirements/export.txt)" for name in names}
    return [
        pytest.param(name, marks=pytest.mark.skipif(lacking(name) is not None, reason=reasons[name])) for name in names
    ]


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


def need_packages(*names: str) -> None:
    """Skips a test, or a module of tests, if the packages of some formats are not installed."""
    for name in names:
        if lacking(name) is not None:
            pytest.skip(f"{lacking(name)} is not installed (requirements/export.txt)", allow_module_level=True)


def export(folder: Path, *arguments: str | Path) -> Export:
    """Runs ``python -m tools.export`` with ``--export_dir``, and by default without timing."""
    output, error = io.StringIO(), io.StringIO()
    with tiny_networks(), root_logger(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
        status = main([f"--export_dir={folder}", "--speed_seconds=0", *map(str, arguments)])
    path = folder / "export_report.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    return Export(folder, status, report, output.getvalue(), error.getvalue())
