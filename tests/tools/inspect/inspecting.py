"""Inspections of tiny data sets in this process, and their results."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from PIL import Image

from tests.runtime.runs import root_logger
from tools.inspect.__main__ import main


class Inspection(NamedTuple):
    """The results of an inspection."""

    status: int
    folder: Path
    output: str
    error: str

    @property
    def facts(self) -> dict[str, Any]:
        return json.loads((self.folder / "inspect.json").read_text(encoding="utf-8"))

    def pixels(self, name: str) -> np.ndarray:
        """A picture of the folder, ``[H, W, 3]``."""
        with Image.open(self.folder / name) as image:
            return np.asarray(image.convert("RGB"))

    def cells(self, name: str) -> list[tuple[np.ndarray, dict[str, Any]]]:
        """The pixels of each picture on a sheet, with its JSON entry."""
        sheet, pixels = self.facts["sheets"][name], self.pixels(name)
        parts = [pixels[top : top + height, left : left + width] for left, top, width, height in sheet["cells"]]
        return list(zip(parts, sheet["examples"], strict=True))


def inspect(data: Path, folder: Path, *flags: str | Path) -> Inspection:
    """Runs the command in this process."""
    output, error = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ),
        root_logger(),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(error),
    ):
        status = main([str(data), f"--output={folder}", *map(str, flags)])
    return Inspection(status, folder, output.getvalue(), error.getvalue())
