"""The export of one checkpoint: everything that the writers of the formats need."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runtime.artefacts.calibration import batches, calibration_images
from runtime.artefacts.formats import Format, GraphKind
from runtime.artefacts.inference_graph import InferenceGraph, InputSpec, inference_graph, read_weights
from runtime.task import Setup
from utils.config import resolved
from utils.errors import RunError

Images = Callable[[], Iterable[np.ndarray]]
"""Function that returns batches of raw images, from the first one at each call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Options for the artefacts and their verification.

    Attributes:
        formats: Names of rows in ``FORMATS``.
        folder: Folder for artefacts and report.
        output_file: Path of the frozen graph instead of one in ``folder``.
        batch_size: Number of images that the artefacts take, or None for any number.
        layout: Layout of their input.
        calibration_images: Size of the calibration set for int8.
        validation_images: Number of images for the comparison.
        speed_seconds: Shortest length of a turn when speeds are measured; 0 measures none.
        max_drift: Limit instead of each format's own, or None.
        max_metric_drop: Limit instead of each format's own, or None.
        opset: ONNX opset; None for the default.
        text: Write a frozen graph as text too.
    """

    formats: tuple[str, ...]
    folder: Path
    output_file: Path | None = None
    batch_size: int | None = None
    layout: str = "NHWC"
    calibration_images: int = 100
    validation_images: int = 64
    speed_seconds: float = 0.0
    max_drift: float | None = None
    max_metric_drop: float | None = None
    opset: int | None = None
    text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The facts about an artefact for the report, apart from its comparison, and the fault that fails it, or None."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None


class ExportJob:
    """The graphs of one checkpoint that formats are written from, and the calibration set.

    Args:
        setup: The network and the validation images for the comparison.
        calibration: The same, with the calibration set for int8 as its validation images; None without data.
        options: Options of the export.
        graphs: Kinds of graph to build.

    Raises:
        RunError: The checkpoint does not fit, is damaged, or holds numbers that are not finite.
    """

    def __init__(
        self, setup: Setup, calibration: Setup | None, options: ExportOptions, graphs: Collection[GraphKind]
    ) -> None:
        self.setup = setup
        self.prefix = setup.required_checkpoint
        self.options = options
        self._calibration = calibration
        self._spec = InputSpec(
            image_size=resolved(setup.config.model, "image_size"), batch_size=options.batch_size, layout=options.layout
        )
        self._graphs = self._build(read_weights(setup, self.prefix), graphs)

    def _build(
        self, weights: Mapping[str, np.ndarray], kinds: Collection[GraphKind]
    ) -> dict[GraphKind, InferenceGraph]:
        task = self.setup.task.portable()
        graphs: dict[GraphKind, InferenceGraph] = {}
        if "as_trained" in kinds or (kinds and not self.quantized):
            graphs = dict.fromkeys(kinds, inference_graph(task, weights, self._spec))
        if "by_zero_point" in kinds and self.quantized:
            by_zero_point = dataclasses.replace(task, network=task.network.by_zero_point())
            graphs["by_zero_point"] = inference_graph(by_zero_point, weights, self._spec)
        return graphs

    @property
    def quantized(self) -> bool:
        """True if the network was trained with quantization."""
        return self.setup.config.model.quantization is not None

    def graph(self, row: Format) -> InferenceGraph:
        """The graph that a format is written from.

        "as_trained" computes the same as the checkpoint's network. So does "by_zero_point", but where training
        quantized by scale alone, it quantizes by scale and zero point, the only kind that some converters read.
        """
        if row.graph is None:
            raise ValueError(f"{row.name} is not written from a graph")
        return self._graphs[row.graph]

    def ranges(self, row: Format) -> Images | None:
        """The calibration set of a format; None if it needs none or training determined the ranges.

        Raises:
            RunError: Too few images can be read.
        """
        if not row.calibrated or self.quantized or self._calibration is None:
            return None
        images = calibration_images(self._calibration, self.options.calibration_images)
        batch = self.options.batch_size or 1
        if len(images) < batch:
            raise RunError(f"--calibration_images: only {len(images)} images could be read; a batch needs {batch}")
        return lambda: batches(images, batch, self._spec.shape)
