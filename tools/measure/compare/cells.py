"""The cells of the comparison by their names (no TF).

A cell is named ARCH-infer-BATCH-TYPE or ARCH-train-BATCH-TYPE, with TYPE f32 or bf16; -xla at its end compares --xla
with its absence. ARCH-predict is a prediction of one image by a new process, ARCH-start a launch up to the end of its
first training step, and input-BATCH the training input. ARCH is a value of --arch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.classification.resolve_classifier import DEFAULT_IMAGE_SIZE as CLASSIFIER_SIZE
from runtime.detection.resolve_detector import DEFAULT_IMAGE_SIZE as DETECTOR_SIZE
from utils.config import ARCHITECTURES, DETECTORS
from utils.errors import UsageError
from utils.suggestions import hint

IMAGES_PER_S, SECONDS = "images/s", "s"
PRECISIONS = {"f32": "float32", "bf16": "bfloat16"}
"""Compute types by their names in cells."""
START_BATCH = 16

TABLE = (
    *(f"resnet50-infer-{batch}-{kind}" for batch in (1, 16) for kind in ("bf16", "f32")),
    *(f"se-resnext101-32x4d-infer-16-{kind}" for kind in ("bf16", "f32")),
    *(f"{arch}-train-16-{kind}" for arch in ("resnet50", "se-resnext101-32x4d") for kind in ("bf16", "f32")),
    *(f"ssd320-{what}-8-{kind}" for what in ("train", "infer") for kind in ("bf16", "f32")),
    *(f"resnet50-train-16-{kind}-xla" for kind in ("bf16", "f32")),
    *(f"resnet50-infer-{batch}-{kind}-xla" for batch in (1, 16) for kind in ("bf16", "f32")),
    *(f"se-resnext101-32x4d-{what}-16-{kind}-xla" for what in ("train", "infer") for kind in ("bf16", "f32")),
    *(f"ssd320-{what}-8-{kind}-xla" for what in ("train", "infer") for kind in ("bf16", "f32")),
    "input-32",
    "resnet50-predict",
    "resnet50-start",
    "se-resnext101-32x4d-start",
)
"""The cells that are compared by default."""

_ARCHITECTURE = f"(?P<arch>{'|'.join(map(re.escape, ARCHITECTURES))})"
_NETWORK = re.compile(
    rf"{_ARCHITECTURE}-(?P<what>infer|train)-(?P<batch>[1-9]\d*)-(?P<type>{'|'.join(PRECISIONS)})(?P<xla>-xla)?"
)
_LAUNCH = re.compile(rf"{_ARCHITECTURE}-(?P<what>predict|start)")
_INPUT = re.compile(r"input-(?P<batch>[1-9]\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell.

    Attributes:
        name: Its name.
        what: "infer", "train", "predict", "start" or "input".
        arch: The architecture.
        batch: Images in a step.
        precision: The compute type.
        xla: Whether --xla is compared with its absence.
    """

    name: str
    what: str
    arch: str = "resnet50"
    batch: int = 1
    precision: str = "float32"
    xla: bool = False

    @property
    def detects(self) -> bool:
        return self.arch in DETECTORS

    @property
    def image_size(self) -> int:
        return DETECTOR_SIZE if self.detects else CLASSIFIER_SIZE

    @property
    def unit(self) -> str:
        """The unit of its results: speeds of networks and inputs, times of whole processes."""
        return SECONDS if self.what in ("predict", "start") else IMAGES_PER_S


def cell_of(name: str) -> Cell | None:
    """The cell of a name; None if no cell is named so."""
    if found := _NETWORK.fullmatch(name):
        kind, xla = PRECISIONS[found["type"]], found["xla"] is not None
        batch = int(found["batch"])
        return Cell(name=name, what=found["what"], arch=found["arch"], batch=batch, precision=kind, xla=xla)
    if found := _LAUNCH.fullmatch(name):
        batch = START_BATCH if found["what"] == "start" else 1
        return Cell(name=name, what=found["what"], arch=found["arch"], batch=batch)
    if found := _INPUT.fullmatch(name):
        return Cell(name=name, what="input", batch=int(found["batch"]))
    return None


def chosen_cells(names: Sequence[str]) -> list[Cell]:
    """The cells with these names, each once.

    Raises:
        UsageError: A name is no cell's, or there is none.
    """
    cells = []
    for name in dict.fromkeys(names):
        cell = cell_of(name)
        if cell is None:
            raise UsageError(
                f"--cells {name}: no such cell; known are {', '.join(TABLE)}, and the same with another network or "
                f"batch size{hint(name, TABLE)}"
            )
        cells.append(cell)
    if not cells:
        raise UsageError("--cells: names no cell")
    return cells
